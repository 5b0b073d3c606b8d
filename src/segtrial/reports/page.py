"""A template and values in, one HTML page out, whole in itself: its policy forbids it to ask any address for anything.

Templates lie beside this file. They extend page.html.j2, which has the style of all pages; `script` names the one
script that a page may have.
"""

from base64 import b64encode
from hashlib import sha256
from importlib import resources

import jinja2

from segtrial.reports import wording


def render(template: str, *, script: str = "", **values: object) -> str:
    """The page as HTML. Equal values give equal characters; every value is escaped."""
    code = _packaged(script) if script else ""
    policy = f"'sha256-{b64encode(sha256(code.encode()).digest()).decode()}'" if script else "'none'"
    page = _environment().get_template(template)
    return page.render(css=_packaged("page.css"), script=code, script_policy=policy, **values)


def _packaged(name: str) -> str:
    return resources.files("segtrial.reports").joinpath(name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_packaged),
    )
    environment.filters |= {
        "score": wording.score,
        "percent": wording.percent,
        "count": wording.count,
        "short_count": wording.short_count,
        "interval": wording.interval,
        "duration": wording.duration,
        "baseline": wording.baseline,
        "counted": wording.counted,
        "color": lambda color: "#{:02x}{:02x}{:02x}".format(*color),
    }
    return environment
