// A small part of Markdown, as a tree: headings, lists, quotes, code, emphasis and links. There is no HTML in it.

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "strong"; inner: Inline[] }
  | { kind: "em"; inner: Inline[] }
  | { kind: "link"; href: string; inner: Inline[] };
export type Block =
  | { kind: "heading"; level: number; inner: Inline[] }
  | { kind: "paragraph" | "quote"; inner: Inline[] }
  | { kind: "list"; ordered: boolean; start: number; items: Inline[][] }
  | { kind: "code"; text: string }
  | { kind: "rule" };

const HEADING = /^(#{1,6})\s+(.*)$/;
const ITEM = /^\s*(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const RULE = /^\s*(?:-\s*){3,}$|^\s*(?:\*\s*){3,}$/;
const FENCE = /^\s*```/;

/** A text as blocks. Whatever is no Markdown stays the text that it is; it takes time in proportion to its length. */
export function parseMarkdown(text: string): Block[] {
  const blocks: Block[] = [];
  // Every end of a line that `.` does not match ends one, so that no pattern goes back over a long line.
  const lines = text.split(/\r\n|[\n\r\u2028\u2029]/);
  let open: { kind: "paragraph" | "quote"; lines: string[] } | null = null;
  const close = () => {
    if (open) blocks.push({ kind: open.kind, inner: parseInline(open.lines.join("\n")) });
    open = null;
  };
  const add = (kind: "paragraph" | "quote", line: string) => {
    if (open?.kind !== kind) {
      close();
      open = { kind, lines: [] };
    }
    open.lines.push(line);
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at]!;
    const heading = HEADING.exec(line);
    const item = RULE.test(line) ? null : ITEM.exec(line);
    if (FENCE.test(line)) {
      close();
      let end = at + 1;
      while (end < lines.length && !FENCE.test(lines[end]!)) end += 1;
      blocks.push({ kind: "code", text: lines.slice(at + 1, end).join("\n") });
      at = end;
    } else if (heading) {
      close();
      blocks.push({ kind: "heading", level: heading[1]!.length, inner: parseInline(withoutEnd(heading[2]!)) });
    } else if (item) {
      close();
      const ordered = item[1] !== undefined;
      const last = blocks.at(-1);
      const inner = parseInline(item[2]!);
      if (last?.kind === "list" && last.ordered === ordered && lines[at - 1]!.trim()) last.items.push(inner);
      else blocks.push({ kind: "list", ordered, start: Number(item[1] ?? 1), items: [inner] });
    } else if (RULE.test(line)) {
      close();
      blocks.push({ kind: "rule" });
    } else if (!line.trim()) close();
    else if (/^\s*>/.test(line)) add("quote", line.replace(/^\s*>\s?/, ""));
    else add("paragraph", line);
  }
  close();
  return blocks;
}

/** A heading without the marks that may end it. */
function withoutEnd(heading: string): string {
  let end = heading.trimEnd().length;
  while (heading[end - 1] === "#") end -= 1;
  return heading.slice(0, end).trimEnd();
}

/** The address of a link; null for whatever is not plain http or https. */
export function safeAddress(text: string): string | null {
  const url = /^https?:\/\//i.test(text) && !/[\s<>"\\]/.test(text) ? URL.parse(text) : null;
  return url && (url.protocol === "http:" || url.protocol === "https:") ? url.href : null;
}

const BARE = /^https?:\/\/[^\s<>"\\]*[^\s<>"\\.,:;!?'*_)\]]/i;
const LONGEST = 2000; // characters of a link
const WORD = /[\p{L}\p{N}]/u;

/** A line of text as pieces. */
export function parseInline(text: string): Inline[] {
  return pieces(text, 0);
}

const DEEPEST = 8;

function pieces(text: string, depth: number): Inline[] {
  const found: Inline[] = [];
  let plain = "";
  const push = (piece: Inline) => {
    if (plain) found.push({ kind: "text", text: plain });
    plain = "";
    found.push(piece);
  };
  // A mark that nothing closes is not looked for again, so that a text of marks alone takes no longer than any other.
  const unclosed = new Set<string>();
  const closing = (mark: string, from: number): number => {
    if (unclosed.has(mark)) return -1;
    const end = text.indexOf(mark, from);
    if (end < 0) unclosed.add(mark);
    return end;
  };
  for (let at = 0; at < text.length;) {
    const char = text[at]!;
    if (char === "\\" && /[\\`*_[\]()#>~-]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    const next = char === "`" ? code(at) : char === "*" || char === "_" ? emphasis(at) : char === "[" ? named(at) : char === "h" || char === "H" ? bare(at) : 0;
    if (next) at = next;
    else {
      plain += char;
      at += 1;
    }
  }
  if (plain) found.push({ kind: "text", text: plain });
  return found;

  function code(at: number): number {
    const end = closing("`", at + 1);
    if (end <= at + 1) return 0;
    push({ kind: "code", text: text.slice(at + 1, end) });
    return end + 1;
  }

  function emphasis(at: number): number {
    const mark = text[at + 1] === text[at] ? text.slice(at, at + 2) : text[at]!;
    const from = at + mark.length;
    if (depth >= DEEPEST || !text[from] || /\s/.test(text[from]!)) return 0;
    const isWord = (place: number) => WORD.test(text[place] ?? "");
    if (mark[0] === "_" && isWord(at - 1)) return 0;
    const end = closing(mark, from);
    if (end <= from || /\s/.test(text[end - 1]!) || (mark[0] === "_" && isWord(end + mark.length))) return 0;
    const inner = pieces(text.slice(from, end), depth + 1);
    push(mark.length === 2 ? { kind: "strong", inner } : { kind: "em", inner });
    return end + mark.length;
  }

  function named(at: number): number {
    const part = text.slice(at, at + LONGEST);
    const match = /^\[([^\][\n]*)\]\(([^()\s]*)\)/.exec(part);
    const href = match && safeAddress(match[2]!);
    if (!match || !href || depth >= DEEPEST) return 0;
    push({ kind: "link", href, inner: match[1] ? pieces(match[1], DEEPEST) : [{ kind: "text", text: href }] });
    return at + match[0].length;
  }

  function bare(at: number): number {
    if (WORD.test(text[at - 1] ?? "")) return 0;
    const match = BARE.exec(text.slice(at, at + LONGEST));
    const href = match && safeAddress(match[0]);
    if (!match || !href) return 0;
    push({ kind: "link", href, inner: [{ kind: "text", text: match[0] }] });
    return at + match[0].length;
  }
}
