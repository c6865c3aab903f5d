"""The web report: one self-contained page that needs no network.

    page.html.j2   the frame: tables, conditions and signatures, readable without scripts
    page.css       its style, light and dark
    script/*.js    sorting, plots, the gallery of lines, the table of disagreement

Nothing of a run is executed in the page: the template escapes all text, the scripts make text nodes
only, the data lies in the page as base64, and a content security policy allows no script but the
page's own and no request at all.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bench.core.progress import Report, silent
from bench.report.format import plain
from bench.report.language import catalogue, in_force, say, say_text
from bench.report.results import Result, Setting
from bench.report.table import Table
from bench.report.web.images import shots
from bench.report.web.payload import gather

_HERE = Path(__file__).parent
_SCRIPTS = (
    *("page", "sort", "diff", "plot", "curves"),
    *("gallery", "filters", "disagreement", "main"),
)


def page(
    name: str,
    results: Sequence[Result],
    main: Sequence[Table],
    further: Sequence[Table],
    pictured: int | None,
    report: Report = silent,
) -> bytes:
    """The page of a run, in the current language.

    The main tables are open at first, the further ones folded; `pictured` lines of a set have
    pictures, all of them with None.
    """
    gathered = gather(results)
    images = shots(gathered, pictured, report)
    script = _script()
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(say=say, zip=zip)
    sections = ("Tables", "Plots", "Lines", "Disagreement", "Conditions")
    html = environment.get_template("page.html.j2").render(
        lang=in_force(),
        run=plain(name),
        lead=_lead(results),
        sections=[(section.lower(), say(section)) for section in sections],
        tables=[*((table, True) for table in main), *((table, False) for table in further)],
        settings=list(map(_setting, dict.fromkeys(result.setting for result in results))),
        row_heads=(
            *("Encoder", "Decoder", "Set", "Damage", "Severity", "Status", "Key", "Signature"),
        ),
        rows=[_row(result) for result in results],
        images=images,
        footer=say(
            "Written by Kaidoku from the stored rows; nothing of it is loaded from elsewhere."
        ),
        payload=_packed({**gathered.payload, "words": _words(script)}),
        pictures=_trusted(_json(images.by_condition).replace("<", "\\u003c")),
        style=_trusted(style),
        style_hash=_hash(style),
        script=_trusted(script),
        script_hash=_hash(script),
    )
    return html.encode()


def _script() -> str:
    """All scripts in one scope, so that none of their names is global."""
    parts = [(_HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _words(script: str) -> dict[str, str]:
    return {word: own for word, own in catalogue(in_force()).items() if f'"{word}"' in script}


def _trusted(text: str) -> Markup:
    """Mark text of the program as safe for the template, unless it would end its element."""
    if "</" in text:
        raise ValueError("an inlined file must not hold '</'")
    return Markup(text)


def _hash(text: str) -> str:
    """The source of an inline script or style for a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _packed(payload: Any) -> str:
    """JSON, gzip and base64: the same bytes for the same data, and no character of markup."""
    return base64.b64encode(gzip.compress(_json(payload).encode(), mtime=0)).decode()


def _json(payload: Any) -> str:
    return json.dumps(payload, separators=(",", ":"), allow_nan=False)


def _lead(results: Sequence[Result]) -> str:
    days = sorted({plain(result.row.started[:10]) for result in results}) or ["—"]
    when = say("{first} to {last}", first=days[0], last=days[-1]) if len(days) > 1 else days[0]
    return say(
        "{rows} rows, {failed} of them failed; measured {when}.",
        rows=len(results),
        failed=sum(result.row.status == "failed" for result in results),
        when=when,
    )


def _setting(setting: Setting) -> list[tuple[str, str]]:
    runtime = setting.runtime
    values = {
        "Machine": setting.machine,
        "Device": runtime.device,
        "Threads": runtime.threads,
        "Precision": runtime.dtype,
        "Batch size": runtime.batch_size,
        "Software": setting.software,
        "Normaliser": setting.normaliser,
    }
    return [(say(word), plain(value)) for word, value in values.items()]


def _row(result: Result) -> tuple[str, ...]:
    row, names = result.row, result.names
    status = (
        say("failed: {reason}", reason=say_text(row.reason))
        if row.status == "failed"
        else row.status
    )
    texts = (names.encoder, names.decoder, names.dataset, result.damage, row.condition.severity)
    return tuple(map(plain, (*texts, status, row.key, row.signature)))
