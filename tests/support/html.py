"""Read the links and tables of a page."""

import re
from html import unescape

from tests.support.responses import Response


def text_of(html: str) -> str:
    """Return the text of a piece of HTML, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def links(answer: Response) -> dict[str, str]:
    """Return the addresses of a page's links by their text. Of links with the same text, the first counts."""
    found = re.findall(r'<a\b[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', answer.content.decode(), re.DOTALL)
    texts: dict[str, str] = {}
    for address, content in found:
        texts.setdefault(text_of(content), unescape(address))
    return texts


def columns(answer: Response) -> list[str]:
    """Return the column headers of a page's table: their aria-label, or else their text."""
    found = re.findall(
        r'<th\b(?:[^>]*? aria-label="([^"]*)")?[^>]*>(.*?)</th>', answer.content.decode(), re.DOTALL
    )
    return [unescape(name) or text_of(cell) for name, cell in found]


def rows(answer: Response) -> list[list[str]]:
    """Return the cells of a page's table, row by row, without their menus."""
    page = re.sub(r'<details class="menu.*?</details>', "", answer.content.decode(), flags=re.DOTALL)
    bodies = "".join(re.findall(r"<tbody\b.*?</tbody>", page, re.DOTALL))
    return [
        [text_of(cell) for cell in re.findall(r"<td\b.*?</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr\b.*?</tr>", bodies, re.DOTALL)
    ]
