// What kind of screen this is. On one as narrow as a phone, pictures and values come first, and the graph is a step away.
const NARROW = matchMedia("(max-width: 639.5px)");

export class Screen {
  narrow = $state(NARROW.matches);
  /** Whether the graph was asked for on a narrow screen. */
  graph = $state(false);
  /** Whether pictures and values take the place of the graph. */
  phone = $derived(this.narrow && !this.graph);

  constructor() {
    NARROW.addEventListener("change", (event) => (this.narrow = event.matches));
  }
}
