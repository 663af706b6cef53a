"""What measured figures need to get into a page: the block between its marks, and the commit that they are of."""

import re
import subprocess
from pathlib import Path


def with_block(page: str, mark: str, text: str) -> str:
    """The text of a page with `text` between its `<!-- MARK -->` and the next `<!-- end -->`. Raises ValueError without them."""
    block = re.compile(rf"(?<=<!-- {re.escape(mark)} -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"the page has no <!-- {mark} --> ... <!-- end -->")
    return block.sub(lambda _: text, page, count=1)


def commit() -> str:
    """The commit of this checkout, "-dirty" where more has changed than results; "unknown" outside of a repository."""

    def git(*arguments: str) -> str:
        try:
            run = subprocess.run(
                ["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False
            )
        except OSError:  # there is no git
            return ""
        return run.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    return git("rev-parse", "--short", "HEAD") + "-dirty" * bool(changed) or "unknown"
