// What a person has set for this browser. Unknown or damaged entries fall back to what is usual.
export interface Choices {
  theme: "system" | "dark" | "light";
  links: "default" | "straight" | "smoothstep" | "hidden";
  drag: "pan" | "select";
  wheel: "zoom" | "pan";
  snap: boolean;
  minimap: boolean;
  scale: number;
  recent: string[];
  keys: { [command: string]: string };
}

const KEY = "nodegraph.settings";
const USUAL: Choices = {
  theme: "system", links: "default", drag: "pan", wheel: "zoom", snap: false, minimap: true, scale: 1, recent: [], keys: {},
};
const ALLOWED: { [key in keyof Choices]?: readonly unknown[] } = {
  theme: ["system", "dark", "light"], links: ["default", "straight", "smoothstep", "hidden"], drag: ["pan", "select"],
  wheel: ["zoom", "pan"], scale: [0.85, 1, 1.15, 1.3, 1.5],
};

/** Settings in a JSON text; what does not fit is left at its usual value. */
export function readSettings(text: string | null): Choices {
  let data: unknown = null;
  try {
    data = JSON.parse(text ?? "null");
  } catch {
    return { ...USUAL };
  }
  const given = (typeof data === "object" && data !== null ? data : {}) as { [key: string]: unknown };
  const entries = Object.entries(USUAL).map(([key, usual]) => {
    const value = given[key];
    const allowed = ALLOWED[key as keyof Choices];
    const fits = allowed ? allowed.includes(value) : typeof value === typeof usual && Array.isArray(value) === Array.isArray(usual) && value !== null;
    return [key, fits ? value : usual];
  });
  return Object.fromEntries(entries) as unknown as Choices;
}

export class Settings {
  private choices = $state.raw<Choices>(readSettings(localStorage.getItem(KEY)));

  get theme() { return this.choices.theme; }
  get links() { return this.choices.links; }
  get drag() { return this.choices.drag; }
  get wheel() { return this.choices.wheel; }
  get snap() { return this.choices.snap; }
  get minimap() { return this.choices.minimap; }
  get scale() { return this.choices.scale; }
  get recent() { return this.choices.recent; }
  get keys() { return this.choices.keys; }
  get all() { return this.choices; }

  set(change: Partial<Choices>): void {
    this.choices = { ...this.choices, ...change };
    localStorage.setItem(KEY, JSON.stringify(this.choices));
  }

  used(type: string): void {
    this.set({ recent: [type, ...this.recent.filter((one) => one !== type)].slice(0, 12) });
  }
}
