// What a person has set for this browser, kept in it.
import { keepText, kept } from "../i18n/kept";
import { readSettings, type Choices } from "../model/settings";

const KEY = "nodegraph.settings";

export class Settings {
  private choices = $state.raw<Choices>(readSettings(kept(KEY)));

  get theme() { return this.choices.theme; }
  get motion() { return this.choices.motion; }
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
    keepText(KEY, JSON.stringify(this.choices));
  }

  used(type: string): void {
    this.set({ recent: [type, ...this.recent.filter((one) => one !== type)].slice(0, 12) });
  }
}
