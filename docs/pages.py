"""Hooks of mkdocs: pages of the repository's root are part of the site, and links lead to where pages are there."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ROOT_PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "RESULTS.md", "SECURITY.md")
LINK = re.compile(r"\[([^]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to other pages lead to them; of links to other files of the repository the text is left."""
    folder = PurePosixPath("." if page.file.src_uri in ROOT_PAGES else "docs")

    def replace(link: re.Match[str]) -> str:
        text, target = link.groups()
        if "://" in target or target.startswith("#"):
            return link.group()
        path, mark, anchor = target.partition("#")
        inside = normpath(folder / path)
        if inside in ROOT_PAGES or inside.startswith("docs/"):
            return f"[{text}]({inside.removeprefix('docs/')}{mark}{anchor})"
        return text if (ROOT / inside).exists() else link.group()

    return LINK.sub(replace, markdown)
