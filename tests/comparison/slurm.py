"""Stand-ins for the commands of Slurm: array jobs as processes of this machine, so many at a time as the script says.

They know what is relied on, and no more: `--array=0-N%W`, `--chdir`, `--output`, one file for each task in the queue.
"""

import os
from pathlib import Path

SBATCH = r"""#!/bin/bash
[ "$1" = --parsable ] || exit 64
script="$2"
option() { sed -n "s/^#SBATCH --$1=//p" "$script"; }
if grep -q -- --partition=none "$script"; then echo "sbatch: error: invalid partition specified: none" >&2; exit 1; fi
array=$(option array) out=$(option output) here=$(option chdir)
last=${array#0-} last=${last%\%*}
echo x >> QUEUE/../jobs
job=$(wc -l < QUEUE/../jobs)
for index in $(seq 0 "$last"); do touch "QUEUE/${job}_$index"; done
export script out here job
task() {
    cd "$here"
    local said="${out//%a/$1}"
    env SLURM_ARRAY_TASK_ID="$1" bash "$script" >> "$said" 2>&1 || echo "slurmstepd: error: ended by $?" >> "$said"
    rm "QUEUE/${job}_$1"
}
export -f task
seq 0 "$last" | setsid xargs -P "${array#*%}" -I{} bash -c 'task {}' > /dev/null 2>&1 &
echo "$job;cluster"
"""
SQUEUE = """#!/bin/bash
[ -e QUEUE/../mute ] && exit 1
ls QUEUE
"""


def put(folder: Path) -> str:
    """Write them into a folder; returns the PATH that has them before all else."""
    (folder / "queue").mkdir(parents=True)
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE)):
        (folder / name).write_text(text.replace("QUEUE", str(folder / "queue")))
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
