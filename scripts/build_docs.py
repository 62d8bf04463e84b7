"""Build the docs site: the repository's own Markdown at its own paths, and the generated reference.

Usage: python scripts/build_docs.py [--into build/docs]
The pages are read as GitHub reads them, so a relative link holds in both. A link that leads nowhere fails the build.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from generate_reference import render_commands, render_values
from sphinx.cmd.build import main as run_sphinx

ROOT = Path(__file__).resolve().parents[1]
# What the sidebar shows, in this order; a title of its own where the page's heading says too little there.
CONTENTS = {
    "Guides": {
        "docs/packaging": "", "docs/functions": "", "docs/pipelines": "", "docs/profiles": "", "docs/frameworks": "",
        "docs/stateful": "",
        "docs/language-models": "", "docs/running": "", "docs/repositories": "", "docs/stores": "",
        "docs/loadtest": "", "docs/generation": "", "docs/tuning": "", "docs/planning": "", "docs/ci": "",
        "docs/chart": "", "docs/troubleshooting": "", "docs/autoscaling": "", "docs/python": "",
    },
    "Reference": {
        "docs/reference/commands": "", "docs/reference/values": "", "charts/triton/README": "The chart",
        "docs/environment": "",
    },
    "The project": {
        "CHANGELOG": "", "docs/architecture": "", "CONTRIBUTING": "", "SECURITY": "",
        "examples/digits/README": "The example model", "examples/token_stream/README": "The streaming example",
    },
}  # fmt: skip
GENERATED = {"docs/reference/commands": render_commands, "docs/reference/values": render_values}
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")


def stage(source: Path) -> None:
    """Lay out the pages and the files that they link to."""
    shutil.rmtree(source, ignore_errors=True)
    for name in ("README", *(page for pages in CONTENTS.values() for page in pages)):
        staged = source / f"{name}.md"
        staged.parent.mkdir(parents=True, exist_ok=True)
        text = GENERATED[name]() if name in GENERATED else _prepare(ROOT / f"{name}.md", staged)
        staged.write_text(text + (_contents() if name == "README" else ""), encoding="utf-8")


def _prepare(page: Path, staged: Path) -> str:
    """The page's text, with the files that it links to laid beside it; a folder is no page, so its link goes."""
    text = page.read_text(encoding="utf-8")
    if page == ROOT / "charts" / "triton" / "README.md":
        text = (
            text.partition("\n## Values\n")[0] + "\n## Values\n\nSee [the reference](../../docs/reference/values.md).\n"
        )
    for link in LINK.finditer(text):
        target, copy = page.parent / link[2], staged.parent / link[2]
        if target.is_dir():
            text = text.replace(link[0], link[1])
        elif target.is_file() and target.suffix != ".md":
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, copy)
    return text


def _contents() -> str:
    blocks = []
    for caption, pages in CONTENTS.items():
        entries = "\n".join(f"{title} <{name}>" if title else name for name, title in pages.items())
        blocks.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n")
    return "".join(blocks)


def main() -> None:
    """Build the site; any warning fails it, once all of them are printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "docs")
    folder = parser.parse_args().into
    source, site = folder / "source", folder / "html"
    stage(source)
    shutil.rmtree(site, ignore_errors=True)
    strict = ["--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env", "--quiet"]
    code = run_sphinx([*strict, "--conf-dir", str(ROOT / "docs"), "-b", "html", str(source), str(site)])
    if code:
        sys.exit(code)
    shutil.copy(site / "README.html", site / "index.html")
    print(f"wrote {site / 'index.html'}")


if __name__ == "__main__":
    main()
