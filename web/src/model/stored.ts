// The names that a workflow may be stored under; the server has the same rule, in nodegraph/serve/names.py.
const LETTERS = /^[\p{L}\p{Nd}\p{Nl}_(][\p{L}\p{M}\p{Nd}\p{Nl}\u200c\u200d_ ().,+'-]*$/u;
const INVISIBLE = /(?![\u200c\u200d])\p{Default_Ignorable_Code_Point}/u;
const MANY_MARKS = /\p{M}(?:[\u200c\u200d]?\p{M}){8}/u;

/** Whether the server would take a name; of the few that no other system takes, such as `con`, it says so itself. */
export function canName(name: string): boolean {
  const one = name.normalize("NFC");
  return one.length <= 100 && LETTERS.test(one) && !INVISIBLE.test(one) && !MANY_MARKS.test(one);
}
