// Fuzzy search: the letters of a query in order, better where they begin words or stand together.
export interface Hit<T> {
  item: T;
  score: number;
  marks: number[];
  /** The other name by which it was found; null where its own fits, or words about it. */
  alias: string | null;
}

const BY_ALIAS = 150; // below every name in which the query stands, above letters of it here and there
const BY_WORDS = -50;
const BY_WHOLE_ALIAS = 252; // of what is usual: above a name that begins with the query, below one that is the query
const WHOLE = 50;
const MAIN = 30; // for the first other name, word by word: more than recent use is worth

/** How well `query` fits `text` and which letters it found; null where it does not. */
export function score(query: string, text: string): { score: number; marks: number[] } | null {
  const wanted = query.toLowerCase().replace(/\s+/g, "");
  if (!wanted) return { score: 0, marks: [] };
  const lower = text.toLowerCase();
  const found = inOnePiece(query).exec(lower);
  if (found) {
    const { index: whole, 0: { length } } = found;
    const marks = Array.from({ length }, (_, index) => whole + index);
    return { score: 200 - whole - text.length / 100 + (startsWord(text, whole) ? 50 : 0), marks };
  }
  const marks: number[] = [];
  let total = 0;
  let from = 0;
  for (const letter of wanted) {
    let at = lower.indexOf(letter, from);
    if (at < 0) return null;
    // A later letter that begins a word beats an earlier one inside a word.
    for (let next = at; next >= 0; next = lower.indexOf(letter, next + 1)) {
      if (startsWord(text, next) || next === from) {
        at = next;
        break;
      }
    }
    if (fits(lower, wanted, marks.length + 1, at + 1)) marks.push(at);
    else {
      at = lower.indexOf(letter, from);
      marks.push(at);
    }
    total += at === from && marks.length > 1 ? 8 : startsWord(text, at) ? 6 : 1;
    from = at + 1;
  }
  return { score: total - text.length / 100, marks };
}

/** The words of a query one after the other: `load image` stands in `LoadImage` as in `load_image`. */
const inOnePiece = (query: string): RegExp =>
  new RegExp(query.toLowerCase().trim().split(/\s+/).map((word) => word.replace(/[^\p{L}\p{N}]/gu, "\\$&")).join("[\\s_-]*"));

const startsWord = (text: string, at: number): boolean =>
  at === 0 || /[^\p{L}\p{N}]/u.test(text[at - 1]!) || (/\p{Lu}/u.test(text[at]!) && !/\p{Lu}/u.test(text[at - 1]!));

function fits(lower: string, wanted: string, done: number, from: number): boolean {
  for (const letter of wanted.slice(done)) {
    const at = lower.indexOf(letter, from);
    if (at < 0) return false;
    from = at + 1;
  }
  return true;
}

/**
 * The items that fit, best first. `texts` gives the name and after it less weighty words; `bonus` favours items;
 * `aliases` are other names, which count less than a name, but for the whole of one of what `isUsual`.
 */
export function search<T>(
  items: readonly T[], query: string, texts: (item: T) => string[], bonus?: (item: T) => number,
  aliases: (item: T) => readonly string[] = () => [], isUsual: (item: T) => boolean = () => false,
): Hit<T>[] {
  const hits: Hit<T>[] = [];
  const wanted = plain(query);
  for (const item of items) {
    const [name = "", ...others] = texts(item);
    const byName = score(query, name);
    const alias = wanted.length > 1 && !plain(name).includes(wanted) ? nearest(aliases(item), wanted) : null;
    const byOther = query.trim().length > 1 && others.some((text) => text.toLowerCase().includes(query.toLowerCase().trim()));
    if (!byName && !byOther && !alias) continue;
    const byAlias = alias && (plain(alias.name) === wanted && isUsual(item) ? BY_WHOLE_ALIAS : BY_ALIAS) + alias.score;
    const found = byAlias ?? (byName ? byName.score + (wanted && plain(name) === wanted ? WHOLE : 0) : BY_WORDS);
    hits.push({ item, score: found + (bonus?.(item) ?? 0), marks: alias ? [] : (byName?.marks ?? []), alias: alias && alias.name });
  }
  return query.trim() || bonus ? hits.sort((a, b) => b.score - a.score) : hits;
}

const plain = (text: string): string => text.toLowerCase().replace(/[\s_-]+/g, "");

/** The name that holds the wanted letters: best at its beginning, and where little else is in it. The main one comes first. */
function nearest(names: readonly string[], wanted: string): { name: string; score: number } | null {
  let best: { name: string; score: number } | null = null;
  for (const [index, name] of names.entries()) {
    const at = plain(name).indexOf(wanted);
    if (at < 0) continue;
    const score = (index === 0 && plain(name) === wanted ? MAIN : 0) - Math.min(at, 20) - Math.min(plain(name).length - wanted.length, 60) / 10;
    if (!best || score > best.score) best = { name, score };
  }
  return best;
}
