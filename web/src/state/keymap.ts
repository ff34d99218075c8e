// Which keys stand for which command: the usual ones, a person's own, and where two commands have the same.

/** What the map of the keys needs to know of a command. */
export interface Keyed {
  id: string;
  keys?: readonly string[];
  /** Keys that the browser itself turns into a command: they cannot be changed. */
  native?: string;
}
/** A person's own keys, by command; empty for a command that is to have none. */
export type Own = { readonly [command: string]: string };

/** The keys of a command: a person's own, else the usual ones. */
export function keysOf(command: Keyed, own: Own): readonly string[] {
  if (command.native) return [command.native];
  const mine = Object.hasOwn(own, command.id) ? own[command.id] : undefined;
  return mine === undefined ? (command.keys ?? []) : mine ? [mine] : [];
}

/** For each command that shares keys with others, those others. */
export function clashes<Command extends Keyed>(commands: readonly Command[], own: Own): Map<string, Command[]> {
  const byKeys = new Map<string, Command[]>();
  for (const command of commands) {
    for (const keys of keysOf(command, own)) byKeys.set(keys, [...(byKeys.get(keys) ?? []), command]);
  }
  const found = new Map<string, Command[]>();
  for (const sharing of byKeys.values()) {
    if (sharing.length < 2) continue;
    for (const command of sharing) {
      const others = sharing.filter((one) => one !== command);
      found.set(command.id, [...new Set([...(found.get(command.id) ?? []), ...others])]);
    }
  }
  return found;
}

/** A person's keys once this command alone has its keys: every other one that shares them has none of its own left. */
export function onlyHere<Command extends Keyed>(commands: readonly Command[], own: Own, command: Command): Own {
  const others = (clashes(commands, own).get(command.id) ?? []).filter((one) => !one.native);
  const mine = new Set(keysOf(command, own));
  return others.reduce((next, one) => ({ ...next, [one.id]: keysOf(one, own).find((keys) => !mine.has(keys)) ?? "" }), own);
}
