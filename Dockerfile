# A server for one model: mount it, and say what it is to be called by.
#
#   docker build -t segtrial .
#   docker run -p 8765:8765 -e SEGTRIAL_TOKEN=... -v "$PWD/runs/first/model.safetensors:/models/first.safetensors:ro" \
#       segtrial /models/first.safetensors
#
# It runs as nobody in particular, writes nothing but sockets in /tmp (with --read-only: --tmpfs /tmp), and stops on
# SIGTERM when what runs is finished: docker stop -t 25 gives it the time. Without a token it does not start: whoever
# reaches a container's port is not on this machine.

FROM python:3.13-slim AS build
WORKDIR /source
# For a torch without CUDA, a tenth of the size: --build-arg PIP_EXTRA_INDEX_URL=... (PyTorch's index of CPU wheels)
ARG PIP_EXTRA_INDEX_URL
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/segtrial \
 && /opt/segtrial/bin/pip install --no-cache-dir --constraint constraints.txt ".[serve]"

FROM python:3.13-slim
COPY --from=build /opt/segtrial /opt/segtrial
RUN useradd --system --no-create-home segtrial
USER segtrial
ENV PATH=/opt/segtrial/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s CMD ["python", "-c", \
    "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8765/ready', timeout=4)"]
ENTRYPOINT ["segtrial", "serve", "--host", "0.0.0.0", "--port", "8765"]
