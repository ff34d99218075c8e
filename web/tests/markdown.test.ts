import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseInline, parseMarkdown, safeAddress, type Block, type Inline } from "../src/model/markdown";

const text = (words: string): Inline => ({ kind: "text", text: words });
const words = (all: Inline[]): string => all.map((one) => ("text" in one ? one.text : words(one.inner))).join("");
const links = (all: Inline[]): string[] =>
  all.flatMap((one) => ("text" in one ? [] : [...(one.kind === "link" ? [one.href] : []), ...links(one.inner)]));
const inner = (block: Block): Inline[] =>
  block.kind === "list" ? block.items.flat() : block.kind === "code" || block.kind === "rule" ? [] : block.inner;

describe("blocks", () => {
  test("headings, paragraphs, lists, quotes, code and rules", () => {
    const source = "# One\n## Two ##\nwords\nmore words\n\n- a\n- b\n\n3. c\n4. d\n> said\n> so\n---\n```py\n# no heading\n<b>\n```\nlast";
    expect(parseMarkdown(source)).toEqual([
      { kind: "heading", level: 1, inner: [text("One")] }, { kind: "heading", level: 2, inner: [text("Two")] },
      { kind: "paragraph", inner: [text("words\nmore words")] },
      { kind: "list", ordered: false, start: 1, items: [[text("a")], [text("b")]] },
      { kind: "list", ordered: true, start: 3, items: [[text("c")], [text("d")]] },
      { kind: "quote", inner: [text("said\nso")] }, { kind: "rule" },
      { kind: "code", text: "# no heading\n<b>" }, { kind: "paragraph", inner: [text("last")] },
    ]);
  });

  test("a fence that nothing closes goes to the end", () => {
    expect(parseMarkdown("```\na\nb")).toEqual([{ kind: "code", text: "a\nb" }]);
  });
});

describe("inline", () => {
  test("emphasis, code and escapes", () => {
    expect(parseInline("a **b *c* d** `e*` \\*f\\*")).toEqual([
      text("a "), { kind: "strong", inner: [text("b "), { kind: "em", inner: [text("c")] }, text(" d")] }, text(" "),
      { kind: "code", text: "e*" }, text(" *f*"),
    ]);
    expect(parseInline("_a_ __b__ snake_case_name 2 * 3 * 4")).toEqual([
      { kind: "em", inner: [text("a")] }, text(" "), { kind: "strong", inner: [text("b")] }, text(" snake_case_name 2 * 3 * 4"),
    ]);
  });

  test("links lead to http and https alone", () => {
    expect(parseInline("[docs](https://example.org/a?b=1#c) and https://example.org/d.")).toEqual([
      { kind: "link", href: "https://example.org/a?b=1#c", inner: [text("docs")] }, text(" and "),
      { kind: "link", href: "https://example.org/d", inner: [text("https://example.org/d")] }, text("."),
    ]);
    const bad = [
      "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "data:text/html,<script>", "vbscript:x",
      "file:///etc/passwd", "//example.org", "/api/runs", "https:example.org", "http://",
    ];
    for (const address of ["blob:https://example.org/x", 'https://a"onclick="x']) expect(safeAddress(address), address).toBeNull();
    for (const address of bad) {
      expect(safeAddress(address), address).toBeNull();
      expect(links(parseInline(`[x](${address})`)), address).toEqual([]);
    }
  });

  test("HTML is the text that it is", () => {
    const hostile = '<script>alert(1)</script> <img src=x onerror="alert(1)"> <a href="javascript:alert(1)">x</a> &lt;b&gt;';
    expect(parseMarkdown(hostile)).toEqual([{ kind: "paragraph", inner: [text(hostile)] }]);
  });
});

describe("any text", () => {
  const marks = fc.array(fc.constantFrom("*", "**", "_", "`", "[", "](", ")", "https://a.b", "javascript:x", "<b>", "\n", "- ", "# ", "```", "a", " ", "\\", ">"), { maxLength: 60 });

  test("gives only links to http and https, and loses no word", () => {
    fc.assert(fc.property(fc.oneof(fc.string({ unit: "grapheme" }), marks.map((all) => all.join(""))), (source) => {
      const blocks = parseMarkdown(source);
      for (const href of blocks.flatMap((one) => links(inner(one)))) expect(href).toMatch(/^https?:\/\//);
      const kept = blocks.map((one) => (one.kind === "code" ? one.text : words(inner(one)))).join("");
      for (const letter of source.replace(/```.*/g, "").match(/a/g) ?? []) expect(kept).toContain(letter);
    }), { numRuns: 500 });
  });

  test("of marks alone takes no longer than any other", () => {
    const time = (source: string) => {
      const start = performance.now();
      parseMarkdown(source);
      return performance.now() - start;
    };
    time("warm *up*");
    for (const mark of ["**a", "_a ", "`", "[", "[a](", "*", "h", "> ", "- ", "#", "\\", "](", "http://a "]) {
      expect(time(mark.repeat(Math.ceil(100_000 / mark.length))), mark).toBeLessThan(3000);
    }
    const [gap, marks, words] = [" ", "#", "a"].map((one) => one.repeat(100_000));
    for (const [name, line] of Object.entries({ gap: `# a${gap}b`, marks: `# ${marks}b`, separator: `- ${gap}${words}\u2028` })) {
      expect(time(line), name).toBeLessThan(3000);
    }
  });
});
