// What a person may set: which values there are, what is usual, and settings as a file that nobody vouches for.
import { LOCALES } from "../i18n/index.svelte";

export interface Choices {
  theme: "system" | "dark" | "light";
  motion: "system" | "full" | "reduced";
  links: "default" | "straight" | "smoothstep" | "hidden";
  drag: "pan" | "select";
  wheel: "zoom" | "pan";
  snap: boolean;
  minimap: boolean;
  scale: number;
  /** Node types that were added last. */
  recent: string[];
  /** A person's own keys, by command; empty for a command that is to have none. */
  keys: { [command: string]: string };
}

export const USUAL: Choices = {
  theme: "system", motion: "system", links: "default", drag: "pan", wheel: "zoom", snap: false, minimap: true, scale: 1,
  recent: [], keys: {},
};
export const ALLOWED = {
  theme: ["system", "dark", "light"], motion: ["system", "full", "reduced"],
  links: ["default", "straight", "smoothstep", "hidden"], drag: ["pan", "select"], wheel: ["zoom", "pan"],
  scale: [0.85, 1, 1.15, 1.3, 1.5],
} as const satisfies { [name in keyof Choices]?: readonly Choices[name][] };

const FORMAT = "nodegraph settings";
const VERSION = 1;
/** Characters of a file, at most. */
export const MOST = 64_000;
const TOLD = 8; // problems of one file
const KEYS = /^(Mod\+)?(Ctrl\+)?(Alt\+)?(Shift\+)?([^\s\p{C}]|[A-Z][A-Za-z0-9]{1,15})$/u;

type Data = { [name: string]: unknown };
const isObject = (value: unknown): value is Data => typeof value === "object" && value !== null && !Array.isArray(value);
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every((one) => typeof one === "string");
const isKeys = (value: unknown): value is string => typeof value === "string" && (value === "" || KEYS.test(value));

/** Whether a value is one that a setting can have; undefined where there is no such setting. */
function fits(name: string, value: unknown): boolean | undefined {
  if (!Object.hasOwn(USUAL, name)) return undefined;
  if (Object.hasOwn(ALLOWED, name)) return (ALLOWED as unknown as { [name: string]: readonly unknown[] })[name]!.includes(value);
  if (name === "recent") return isTexts(value);
  if (name === "keys") return isObject(value) && Object.values(value).every(isKeys);
  return typeof value === "boolean";
}

/** The settings that a browser has kept. Unknown or damaged entries fall back to what is usual. */
export function readSettings(text: string | null): Choices {
  let data: unknown = null;
  try {
    data = JSON.parse(text ?? "null");
  } catch {
    // What cannot be read is as good as not there.
  }
  const given = isObject(data) ? data : {};
  const entries = Object.entries(USUAL).map(([name, usual]) => [name, Object.hasOwn(given, name) && fits(name, given[name]) ? given[name] : usual]);
  return Object.fromEntries(entries) as Choices;
}

/** Settings as the text of a file. What was used recently is no setting and stays here. */
export function dumpSettings(choices: Choices, language: string): string {
  const { recent: _, ...settings } = choices;
  return `${JSON.stringify({ format: FORMAT, version: VERSION, settings: { ...settings, language } }, null, 2)}\n`;
}

/** What is wrong with a file of settings: a message key and what is filled in. */
export interface Refusal {
  key: string;
  slots: { [slot: string]: string | number };
}
export class SettingsRefused extends Error {
  override name = "SettingsRefused";
  constructor(readonly problems: Refusal[]) {
    super(problems.map((one) => one.key).join(", "));
  }
}

/**
 * Settings in the text of a file, checked as a whole: what it does not name is usual.
 *
 * Throws SettingsRefused with all that is wrong, at most a few of them in words.
 */
export function parseSettings(text: string, commands: ReadonlySet<string>): { choices: Choices; language: string | null } {
  const problems: Refusal[] = [];
  const wrong = (key: string, slots: Refusal["slots"] = {}) => void problems.push({ key: `settings.refused.${key}`, slots });
  const refuse = (key: string, slots: Refusal["slots"] = {}): never => {
    wrong(key, slots);
    throw new SettingsRefused(problems);
  };
  if (text.length > MOST) refuse("large", { most: MOST / 1000 });
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    refuse("json", { message: short(error instanceof Error ? error.message : String(error)) });
  }
  if (!isObject(file) || file["format"] !== FORMAT) return refuse("format");
  const { version, settings } = file;
  // A list that is nested deep enough has no text.
  if (version !== VERSION) refuse("version", { version: typeof version === "object" ? "?" : short(String(version ?? "none")) });
  if (!isObject(settings)) return refuse("object", { place: "settings" });

  for (const [name, value] of Object.entries(settings)) {
    if (name === "language") {
      if (typeof value !== "string" || !Object.hasOwn(LOCALES, value)) wrong("choice", { name, choices: Object.keys(LOCALES).join(", ") });
    } else if (name === "keys") {
      if (!isObject(value)) wrong("object", { place: "keys" });
      else for (const [command, keys] of Object.entries(value)) {
        if (!commands.has(command)) wrong("command", { name: short(command) });
        else if (!isKeys(keys)) wrong("keys", { name: command });
      }
    } else if (name === "recent" || fits(name, value) === undefined) wrong("unknown", { name: short(name) });
    else if (!fits(name, value)) {
      if (Object.hasOwn(ALLOWED, name)) wrong("choice", { name, choices: ALLOWED[name as keyof typeof ALLOWED].join(", ") });
      else wrong("switch", { name });
    }
  }
  if (problems.length > TOLD) {
    const more = problems.length - TOLD;
    problems.length = TOLD;
    wrong("more", { count: more });
  }
  if (problems.length) throw new SettingsRefused(problems);
  const { language = null, ...rest } = settings;
  return { choices: { ...USUAL, ...rest } as Choices, language: language as string | null };
}

const short = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);
