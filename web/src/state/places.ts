// Views of the canvas that are kept in the document, each under a digit.
import { tick } from "svelte";
import { t } from "../i18n/index.svelte";
import { own } from "../model/document";
import { validPath } from "../model/subgraph";
import type { App } from "./app.svelte";

export const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"] as const;

export const isKept = (app: App, digit: string): boolean => Object.hasOwn(app.tab.root.bookmarks, digit);

/** Keep what is in view under a digit; what was kept there before goes. */
export function keepPlace(app: App, digit: string): void {
  if (!app.canvas) return;
  const { x, y, zoom } = app.canvas.view();
  const bookmark = { x: Math.round(x), y: Math.round(y), zoom: Math.round(zoom * 1000) / 1000, path: [...app.tab.path] };
  app.tab.editRoot({ ...app.tab.root, bookmarks: { ...app.tab.root.bookmarks, [digit]: bookmark } }, "edit.keep");
  app.toast(t("place.kept", { digit }));
  app.say(t("place.kept", { digit }));
}

/** Go back to what is kept under a digit, into the subgraph that was in view as well. */
export async function goToPlace(app: App, digit: string): Promise<void> {
  const { tab } = app;
  const place = own(tab.root.bookmarks, digit);
  if (!place) return;
  const path = validPath(tab.root, place.path);
  app.screen.graph = true;
  if (path.join("/") !== tab.path.join("/")) {
    tab.views.set(path.join("/"), { x: 0, y: 0, zoom: place.zoom }); // so that nothing else is brought into view first
    tab.go(path);
    await tick();
  }
  app.canvas?.look(place);
  app.say(t("place.gone", { digit }));
}

export function forgetPlaces(app: App): void {
  app.tab.editRoot({ ...app.tab.root, bookmarks: {} }, "edit.forget");
}
