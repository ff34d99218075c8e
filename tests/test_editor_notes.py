"""Notes in the editor: read as Markdown, written by keys, and never anything but text and safe links."""

from __future__ import annotations

import pytest
from browser import violations

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import EditorPage
from playwright.sync_api import expect

NOTE = """# Portraits
Use **short** prompts, *one* subject, and `seed` 7.

- [the guide](https://example.org/guide?a=1)
- https://example.org/plain
1. first

> said

```
steps = 25
```"""
HOSTILE = """<script>window.hurt = 1</script> <img src=x onerror="window.hurt = 2">
<a href="javascript:window.hurt=3">press</a> [press](javascript:window.hurt=4) [press](JaVaScRiPt:window.hurt=5)
[press](data:text/html,<script>window.hurt=6</script>) <iframe srcdoc="<script>parent.hurt=7</script>"></iframe>
**<svg onload=window.hurt=8>** `<style>*{display:none}</style>` # <b onclick=window.hurt=9>x</b>"""


@pytest.fixture
def editor(editor: EditorPage) -> EditorPage:
    """An empty workflow, to write notes into."""
    editor.new()
    return editor


def write(editor: EditorPage, text: str) -> None:
    """Add a note with this text by keys."""
    editor.page.keyboard.press("n")
    field = editor.page.locator(".frame textarea")
    expect(field).to_be_focused()
    editor.page.keyboard.insert_text(text)
    editor.page.keyboard.press("Escape")
    expect(field).to_have_count(0)


@pytest.mark.slow
def test_a_note_reads_as_markdown_and_is_written_by_keys(editor: EditorPage) -> None:
    write(editor, NOTE)
    note = editor.page.locator(".note-text")
    expect(note.get_by_role("heading", name="Portraits")).to_be_visible()
    assert note.locator("strong").inner_text() == "short"
    assert note.locator("em").inner_text() == "one"
    assert note.locator("p code").inner_text() == "seed"
    assert note.locator("pre").inner_text() == "steps = 25"
    assert note.locator("blockquote").inner_text() == "said"
    assert note.locator("ul li").count() == 2
    assert note.locator("ol li").all_inner_texts() == ["first"]
    assert note.locator("a").evaluate_all("all => all.map((one) => [one.href, one.target, one.rel])") == [
        ["https://example.org/guide?a=1", "_blank", "noopener noreferrer"],
        ["https://example.org/plain", "_blank", "noopener noreferrer"],
    ]
    assert violations(editor.page) == []
    # The chosen note is taken up again by a key; what was written is the document's, as it was typed.
    editor.page.keyboard.press("F2")
    field = editor.page.locator(".frame textarea")
    expect(field).to_have_value(NOTE)
    field.press("End")
    editor.page.keyboard.press("Control+End")
    editor.page.keyboard.insert_text("\n\nlast")
    editor.page.keyboard.press("Escape")
    expect(note.locator("p").last).to_have_text("last")
    assert editor.document()["notes"][0]["text"] == f"{NOTE}\n\nlast"


def test_hostile_text_in_a_note_stays_text(editor: EditorPage) -> None:
    write(editor, HOSTILE)
    note = editor.page.locator(".note-text")
    expect(note).to_contain_text("<script>window.hurt = 1</script>")
    expect(note).to_contain_text("<svg onload=window.hurt=8>")
    assert note.locator("script, img, iframe, svg, style, b, a").count() == 0
    for press in note.get_by_text("press").all():
        press.click()
    assert editor.page.evaluate("window.hurt") is None
    # Also from a file, where the server has not looked at it.
    editor.page.reload()
    expect(note).to_contain_text("<img src=x")
    assert note.locator("script, img, iframe, svg, style, b, a").count() == 0
    assert editor.page.evaluate("window.hurt") is None


def test_a_template_for_models_of_ones_own_says_in_its_note_what_to_bring(editor: EditorPage) -> None:
    page = editor.page
    page.keyboard.press("Control+o")
    dialog = page.get_by_role("dialog")
    template = dialog.get_by_role("button", name="SDXL with a LoRA")
    expect(template.locator(".cover")).to_have_text("Painted by a model of yours")
    heights = "all => all.map((one) => [one.offsetHeight, one.parentElement.offsetHeight])"
    shown = dialog.locator(".cover img").evaluate_all(heights)
    assert len(shown) > 10
    assert all(picture <= cover for picture, cover in shown), "every picture is shown whole"
    template.click()
    expect(page.locator(".note-text")).to_contain_text("into models/loras")
    for node, name in (("model", "sd_xl_base_1.0.safetensors"), ("lora", "my_lora.safetensors")):
        expect(editor.node(node).locator(".messages")).to_contain_text(name)
