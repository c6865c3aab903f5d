"""`python -m bench data`: list, get, check and damage data sets; get weights of encoders."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, Parameter
from huggingface_hub import constants

from bench.cli import PROGRAM
from bench.cli.bars import Steps
from bench.cli.listing import absence, behind, fact
from bench.cli.options import DataRoot, Json, Lang, Names, Options, print_json
from bench.core.bounds import Count
from bench.core.errors import UserError
from bench.core.hub import MAIN, size_of
from bench.core.metrics import visible
from bench.core.options import parse_options, typed_options
from bench.core.registry import did_you_mean
from bench.pipeline import bad_lines
from bench.pipeline.runs import CHECKS
from bench.report.format import commas, padded, plain, plural
from bench.report.language import say, say_text
from datasets import DATASETS
from datasets.hub import download, is_hub_id, licence_of, parquet_files
from datasets.root import VARIABLE, data_root, writable_root
from datasets.sources import SOURCES, PublicSource, missing_files, missing_pieces
from datasets.splits import in_order
from models import ENCODERS
from models.trocr import TrOCRSpec

if TYPE_CHECKING:
    from datasets.acquire import Audit
    from datasets.base import Dataset
    from datasets.census import Census

SHEET = "sheet.png"
_PRINTED = 10  # bad lines; all are in the file
_CENSUS = 17  # columns of a name
_FILES = {SHEET: "contact sheet", bad_lines.NAME: "all reasons"}

app = App(
    name="data",
    help="List, download, check and damage data sets; download weights of encoders.",
    help_epilogue=f"""\
examples:
  {PROGRAM} data list                    sets, their licences, and which are here
  {PROGRAM} data get unipen hooker       download, rebuild and verify two sets
  {PROGRAM} data get trocr-base          the weights of an encoder
  {PROGRAM} data get --encoder owner/name --revision refs/pr/3     of any other TrOCR of the Hub
  {PROGRAM} data get hooker --url https://mirror.example/JosephHookerHTR.git
  {PROGRAM} data get Teklia/IAM-line     the Parquet files of a data set of the Hub
  {PROGRAM} data check                   read what is here to the end, compare it with the record
  {PROGRAM} data check hooker            the same for one set, and count what it holds
  {PROGRAM} data check iam -o iam.root=~/IAM -o iam.strict=true
  {PROGRAM} data check parquet -o parquet.path=Teklia/IAM-line --split test
  {PROGRAM} data check page -o page.root=my-letters --out letters-check

`check NAME` reads any data set of `list` and counts its lines, writers and blocks by split, its
alphabet, and lines that cannot be used, with the reason. It writes a contact sheet (sheet.png) to
look at, and all reasons (bad-lines.jsonl). Texts and images in two splits: check leak.

The data root is the first of: --data-root, the environment variable {VARIABLE}, data/ in the
checkout, shared/data/ beside the checkout. Sets are got from their public git repositories at a
pinned commit, and are put in place only when their content has the recorded hash. UNIPEN comes
with isolated words and characters: `train` reads them, nothing else does, and nothing else is
wrong without them.

Weights go to the Hub's own cache ($HF_HOME), where other programs find them too. Safetensors are
taken where there are any, pickled weights otherwise, never both. A download that was stopped goes
on where it stopped. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are obeyed.

exit code 1: a set differs from its record, lines cannot be used, or a set that was named is missing
or empty
""",
)


@app.command(name="list")
def show(*, data_root: DataRoot = None, lang: Lang = None, as_json: Json = False) -> int:
    """List the sets that can be got, their licences, and which are here."""
    if as_json:
        print_json([_listed(source) for source in SOURCES.values()])
        return 0
    _print_root()
    for source in SOURCES.values():
        missing = missing_files(source.name)
        mark = " " if missing is None else "-"
        print(f"\n{mark} {source.name}: {say_text(source.title)}")
        print(fact("lines", _by_split(source.lines), indent=4))
        if source.pieces:
            print(fact("training", _counts({p.name: p.count for p in source.pieces}), indent=4))
        print(fact("source", f"{source.url} @ {source.commit[:12]}", indent=4))
        print(fact("licence", f"{source.licence}; {source.attribution}", indent=4))
        if missing is not None:
            print("\n".join(f"    {line}" for line in absence(missing.reason, missing.remedy)))
        elif absent := missing_pieces(source.name):
            print(f"    {_without([pieces.name for pieces in absent], source.name)}")
    return 0


def _listed(source: PublicSource) -> dict[str, Any]:
    missing = missing_files(source.name)
    return {
        **dataclasses.asdict(source),
        "here": missing is None,
        "reason": missing.reason if missing else "",
        "remedy": missing.remedy if missing else "",
        "missing_pieces": [pieces.name for pieces in missing_pieces(source.name)],
    }


@app.command(usage=f"{PROGRAM} data get [OPTIONS] [NAME...]")
def get(
    *name: str,
    encoder: Names = (),
    url: str | None = None,
    revision: str | None = None,
    files: str | None = None,
    data_root: DataRoot = None,
    lang: Lang = None,
) -> int:
    """Download, rebuild and verify data sets; download weights of encoders.

    Args:
        name: unipen, hooker, copiste, an encoder of `list`, or owner/name of a data set of the Hub
        encoder: encoders, or owner/name of their weights on the Hub
        url: fetch the pinned commit of a set from here (a mirror, a clone)
        revision: branch, tag or commit of the Hub's; default: main
        files: a pattern; only Parquet files of it, of a data set of the Hub
    """
    encoders = (*encoder, *(one for one in name if one in ENCODERS.names()))
    sets = tuple(one for one in name if one not in ENCODERS.names())
    if not encoders and not sets:
        raise UserError(f"say what to get; {PROGRAM} data list shows what there is")
    if revision and len(name) + len(encoder) > 1:
        raise UserError("--revision is of one thing; get one at a time with it")
    if encoders and (url or files):
        raise UserError(f"{'--url' if url else '--files'} is for data sets; get weights apart")
    for one in dict.fromkeys(encoders):
        _get_weights(one, revision)
    return _get_sets(sets, url, revision, files) if sets else 0


def _get_weights(name: str, revision: str | None) -> None:
    """Download and verify the weights of an encoder; without a revision those of its own."""
    from models.download import download as fetch

    spec = ENCODERS.create(name)
    if not isinstance(spec, TrOCRSpec):
        raise UserError(f"the weights of {name} are not on the Hub; there is nothing to get")
    revision = revision or spec.revision
    words = "{name}: {repo} of {hub}, revision {revision}"
    origin = {"repo": spec.repo, "hub": constants.ENDPOINT, "revision": revision}
    print(say(words, name=name, **origin), flush=True)
    with _resumable(name) as steps:
        checkpoint = fetch(spec.repo, revision, steps.report, spec.processor)
    print(fact("weights", f"{checkpoint.weights.name}, {size_of(checkpoint.size)}"))
    print(fact("here", str(checkpoint.folder)))
    words = "{commit}; -o {name}.revision={commit} pins it"
    print(fact("commit", say(words, commit=checkpoint.folder.name, name=name)))


@contextlib.contextmanager
def _resumable(name: str) -> Iterator[Steps]:
    """Show the steps of a download; Ctrl-C says that it goes on."""
    try:
        with Steps(name) as steps:
            yield steps
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on from there") from None


def _get_sets(name: Sequence[str], url: str | None, revision: str | None, files: str | None) -> int:
    from datasets.acquire import get as fetch

    repos = [one for one in name if is_hub_id(one)]
    if repos or revision or files:
        if len(repos) < len(name) or url:
            raise UserError(
                "--revision and --files are for data sets of the Hub, --url for the others; "
                "get them by commands of their own"
            )
        return _get_repos(repos, revision, files or "*")
    sources = _sources(name)
    if url and len(sources) > 1:
        raise UserError("--url is the address of one source; get one set at a time with it")
    root = writable_root()
    for source in sources:
        print(f"{source.name}: {say_text(source.title)}")
        print(fact("source", f"{url or source.url} @ {source.commit}"))
        print(fact("licence", _notice(source)), flush=True)
        with Steps(source.name) as steps:
            verdict = fetch(source, root, url, steps.report)
        parts = [*source.files, *(pieces.file for pieces in source.pieces)]
        print(fact("here", say("{files} in {folder}", files=commas(parts), folder=root)))
        words, digest = "{lines}; as recorded (sha256 {sha256})", verdict.sha256[:12]
        counts = say(words, lines=_by_split(verdict.lines), sha256=digest)
        print(fact("lines", counts))
        if verdict.pieces:
            counts = _counts({p.name: p.count for p in verdict.pieces})
            print(fact("training", say("{counts}; as recorded", counts=counts)))
    return 0


def _get_repos(repos: Sequence[str], revision: str | None, pattern: str) -> int:
    for repo in dict.fromkeys(repos):
        words = "{name}: of {hub}, revision {revision}"
        origin = {"hub": constants.ENDPOINT, "revision": revision or MAIN}
        print(say(words, name=repo, **origin), flush=True)
        with _resumable(repo) as steps:
            folder = download(repo, revision or MAIN, pattern, steps.report)
        files = parquet_files(folder, pattern)
        size = size_of(sum(file.stat().st_size for file in files))
        licence = say("{licence}, as its card says", licence=licence_of(folder))
        print(fact("licence", licence))
        words = "{files}, {size}, in {folder}"
        held = say(words, files=plural(len(files), "file"), size=size, folder=folder)
        print(fact("here", held))
        print(fact("read it", f"{PROGRAM} data check parquet -o parquet.path={repo}"))
        words = "{commit}; -o {name}.revision={commit} pins it"
        print(fact("commit", say(words, commit=folder.name, name="parquet")))
    return 0


def _sources(names: Sequence[str]) -> list[PublicSource]:
    for name in names:
        if name in DATASETS and name not in SOURCES:
            if missing := DATASETS.create(name).missing():
                raise UserError(f"{name} cannot be got for you: {missing}")
            raise UserError(f"{name} is here already; there is nothing to get")
        if name not in SOURCES:
            known = [*SOURCES, *ENCODERS.names()]
            raise UserError(f"nothing to get is called {name!r}{did_you_mean(name, known)}")
    return [SOURCES[name] for name in dict.fromkeys(names)]


def _notice(source: PublicSource) -> str:
    words = "{licence}: free to use and to share, if you name: {names}"
    if "-SA-" in source.licence:
        words = (
            "{licence}: free to use and to share, what you make of it under the same licence, "
            "if you name: {names}"
        )
    return say(words, licence=source.licence, names=source.attribution)


@dataclasses.dataclass(frozen=True)
class Checked:
    """A set against its record, where it has one, and in numbers, where it was counted."""

    name: str
    verdict: Audit | None
    census: Census | None = None
    files: tuple[Path, ...] = ()

    @property
    def missing(self) -> bool:
        """Tell whether the set is not here."""
        return self.verdict is not None and self.verdict.state == "missing"

    @property
    def wrong(self) -> bool:
        """Tell whether something is wrong with what is here."""
        verdict, census = self.verdict, self.census
        states = {verdict.state, *(each.state for each in verdict.pieces)} if verdict else ()
        return "differs" in states or bool(
            census and (census.bad or census.absent or not census.lines)
        )


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class Counting:
    """The way sets are counted.

    Args:
        split: count this split only; default: all
        limit: count the first N lines of a split only
        out: folder of the contact sheet and the reasons; default: results/checks/NAME
    """

    split: str | None = None
    limit: Count | None = None
    out: Path | None = None


@app.command(usage=f"{PROGRAM} data check [OPTIONS] [NAME...]")
def check(
    *name: str,
    counting: Counting = Counting(),
    options: Options = (),
    data_root: DataRoot = None,
    lang: Lang = None,
    as_json: Json = False,
) -> int:
    """Compare sets with their record, and count what a set holds.

    Args:
        name: data sets, which are also counted; default: compare those with a record, no more
    """
    names = list(dict.fromkeys(name or SOURCES))
    for one in names:
        DATASETS.entry(one)
    if not name and (options or counting != Counting()):
        raise UserError(f"name the sets to count: {PROGRAM} data check NAME")
    if counting.out and len(names) > 1:
        raise UserError("--out is the folder of one set; check one at a time with it")
    typed = typed_options(parse_options(options), (DATASETS,))
    if unknown := next((one for one in typed if one not in names), None):
        raise UserError(f"options are given for {unknown!r}, which is not checked; name it too")
    results = [
        _checked(one, DATASETS.create(one, typed.get(one)), counting if name else None)
        for one in names
    ]
    if as_json:
        print_json([_record(checked) for checked in results])
    else:
        _print_root()
        for checked in results:
            print("\n".join(_lines_of(checked)))
    return int(any(checked.wrong or (name and checked.missing) for checked in results))


def _checked(name: str, dataset: Dataset, counting: Counting | None) -> Checked:
    from datasets.acquire import Audit, check
    from datasets.base import listening
    from datasets.census import take

    with Steps(name) as steps:
        verdict = None
        if name in SOURCES:
            verdict = check(SOURCES[name], data_root(), steps.report)
        elif missing := dataset.missing():
            verdict = Audit(name, "missing", reason=missing.reason, remedy=missing.remedy)
        # A file that differs from its record may be one that cannot be read; the verdict says so.
        if counting is None or (verdict and verdict.state != "right"):
            return Checked(name, verdict)
        with listening(steps.report):
            splits = (counting.split,) if counting.split else ()
            census = take(name, dataset, splits, counting.limit)
    files = _write(census, counting.out or CHECKS / name)
    if census.bad and dataset.strict:
        split, first = census.bad[0]
        raise UserError(
            f"{len(census.bad)} lines of {name} cannot be used, and strict was asked for; "
            f"the first is {first.id} ({split}): {first.reason}; all are in {files[-1]}"
        )
    return Checked(name, verdict, census, files=files)


def _write(census: Census, folder: Path) -> tuple[Path, ...]:
    """Write the contact sheet and the file of reasons, each where there is something to show."""
    import cv2

    from bench.core.files import write_atomically
    from datasets.sheet import contact_sheet

    sheet, reasons = folder / SHEET, folder / bad_lines.NAME
    for count in census.splits:
        bad = [line for split, line in census.bad if split == count.split]
        bad_lines.note(reasons, census.name, count.split, bad)
    if census.shown:
        title = f"{census.name}: {census.lines} lines, of each split some, evenly over all"
        _, encoded = cv2.imencode(".png", contact_sheet(title, census.shown))
        write_atomically(sheet, encoded.tobytes())
    return tuple(path for path in (sheet, reasons) if path.exists())


def _record(checked: Checked) -> dict[str, Any]:
    verdict, census = checked.verdict, checked.census
    record: dict[str, Any] = {"name": checked.name, "state": "no record"}
    if verdict:
        record |= dataclasses.asdict(verdict)
    if census:
        counted = dataclasses.asdict(dataclasses.replace(census, shown=(), absent=()))
        del counted["shown"]
        absent = [
            {"split": split, "reason": missing.reason, "remedy": missing.remedy}
            for split, missing in census.absent
        ]
        record["census"] = counted | {"absent": absent}
        record["files"] = [str(path) for path in checked.files]
    return record


def _lines_of(checked: Checked) -> list[str]:
    lines = _verdict_lines(checked.verdict) if checked.verdict else []
    if checked.census:
        lines += ["", *census_lines(checked.census)]
        lines += [fact(_FILES[path.name], str(path), _CENSUS) for path in checked.files]
    return lines


def _verdict_lines(verdict: Audit) -> list[str]:
    head = f"{verdict.name:<8} {padded(say(verdict.state), 8)}"
    if verdict.lines:
        head += f" {_by_split(verdict.lines)}; {_letters(verdict.alphabet)}"
    details = [f"sha256 {verdict.sha256}"] if verdict.sha256 else []
    if verdict.reason:
        details += [say_text(verdict.reason), *absence("", verdict.remedy)]
    details += [_pieces_line(pieces, verdict.name) for pieces in verdict.pieces]
    return [head, *(f"{'':<8} {detail}" for detail in details)]


def census_lines(census: Census) -> list[str]:
    """A census in words."""
    from tabulate import tabulate

    head = list(map(say, ("split", "lines", "writers", "blocks", "cannot be used")))
    rows = [
        (count.split, count.lines, count.writers or "?", count.blocks or "?", count.bad)
        for count in census.splits
    ]
    counts = tabulate(rows, head, disable_numparse=True, colalign=["left"] + 4 * ["right"])
    reasons = [
        f"    {split}/{line.id}: {say_text(line.reason)}" for split, line in census.bad[:_PRINTED]
    ]
    bad = plural(len(census.bad), "line")
    facts = {
        "alphabet": _letters(census.alphabet),
        **({"tags of lines": _tags(census.tags)} if census.tags else {}),
        "cannot be used": say("{lines}, the first:", lines=bad) if reasons else say("none"),
    }
    absent = [(split, absence(one.reason, one.remedy)) for split, one in census.absent]
    words = "{name}: {source}; licence {licence}; references {references}"
    about = {
        "source": say_text(census.source),
        "licence": say_text(census.licence),
        "references": say_text(census.references),
    }
    return [
        behind("", say(words, name=census.name, **about)),
        "",
        *counts.splitlines(),
        say("(blocks: what statistics resample)"),
        "",
        *(fact(name, text, _CENSUS) for name, text in facts.items()),
        *reasons,
        *(fact("note", say_text(note), _CENSUS) for note in census.notes),
        *(fact("not here", commas((split, *why)), _CENSUS) for split, why in absent),
    ]


def _tags(tags: Mapping[str, int]) -> str:
    return ", ".join(f"{plain(tag)} {count}" for tag, count in tags.items())


def _letters(alphabet: str) -> str:
    other = " ".join(visible(character) for character in alphabet if not " " <= character <= "~")
    seen = "".join(character for character in alphabet if visible(character) == character)
    letters = say("{count} characters: {alphabet}", count=len(alphabet), alphabet=seen)
    return letters + (say("; not printable ASCII: {letters}", letters=other) if other else "")


def _pieces_line(pieces: Audit, name: str) -> str:
    if pieces.state == "missing":
        return _without([pieces.name], name)
    kind = say(pieces.name)
    if pieces.state == "right":
        words = "{kind} right: {count}, for training; sha256 {sha256}"
        return say(words, kind=kind, count=pieces.count, sha256=pieces.sha256)
    reason, command = say_text(pieces.reason), f"{PROGRAM} data get {name}"
    words = "{kind} differ: {reason}; mend it: {command}"
    return say(words, kind=kind, reason=reason, command=command)


def _without(kinds: Sequence[str], source: str) -> str:
    return say(
        "no {kinds} here: only training reads them, no test does; get them: {command}",
        kinds=commas(map(say, kinds)),
        command=f"{PROGRAM} data get {source}",
    )


def _by_split(lines: Mapping[str, int]) -> str:
    return _counts({split: lines[split] for split in in_order(lines)})


def _counts(counts: Mapping[str, int]) -> str:
    return commas(f"{count} {say(name)}" for name, count in counts.items())


def _print_root() -> None:
    print(say("data root: {folder}", folder=data_root() or say("none yet")))


app.command("bench.cli.damage:app", name="damage", help="Preview and export damaged lines.")
