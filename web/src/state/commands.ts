// Every command of the editor once: the menus, the command palette, the keyboard and the sheet of keys all read this table.
import { t } from "../i18n/index.svelte";
import { focusSoon } from "../lib/focus";
import type { Point } from "../model/document";
import { paintable, paintMask } from "../panels/actions";
import type { App } from "./app.svelte";
import { align, bent, bypass, dissolve, fold, group, mute, note, nudge, straighten, tidy } from "./arranging";
import { chosenUse, enclose, unpack } from "./subgraphs";
import { copy, cut, duplicate, pasteFromClipboard } from "./clipboard";
import { download, downloadCall, exportForComfyui } from "./export";
import { chooseFile, closeTab, newTab, save } from "./files";
import { keysOf, type Keyed } from "./keymap";
import { digit, isMac, isTyping, pressed, shown, typesNothing } from "./keys";
import { DIGITS, forgetPlaces, goToPlace, isKept, keepPlace } from "./places";
import { openConnect, openFind, openSearch } from "./pickers";
import { cancel, newSeeds, nextProblem, run } from "./running";
import { alsoCalled } from "./say";

export type Group = "file" | "edit" | "view" | "run" | "node";
export interface Command extends Keyed {
  group: Group;
  /** Held keys repeat it. */
  repeats?: boolean;
  /** Works while text is being typed, where its keys type nothing. */
  always?: boolean;
  can?: (app: App) => boolean;
  /** What to do so that it can run: told in the palette where it cannot now. */
  needs?: string;
  /** `at` is the place of the menu that it was chosen in. */
  run: (app: App, at?: Point) => unknown;
}

const some = (app: App) => app.tab.chosen.nodes.size > 0;
const anything = ({ tab: { chosen } }: App) => chosen.nodes.size + chosen.groups.size + chosen.notes.size + chosen.edges.size > 0;
const copyable = ({ tab: { chosen } }: App) => chosen.nodes.size + chosen.groups.size + chosen.notes.size > 0;

const move = (name: string, x: number, y: number): Command[] => {
  const key = `Arrow${name[0]!.toUpperCase()}${name.slice(1)}`;
  const by = (id: string, keys: string, step: number): Command => ({
    id, group: "node", keys: [keys], repeats: true, can: some, run: (app) => nudge(app, step * x, step * y),
  });
  return [by(`move_${name}`, key, 10), by(`move_${name}_far`, `Shift+${key}`, 50)];
};

const several = (app: App) => app.tab.chosen.nodes.size > 1;

/** Where the chosen node takes a mask. */
const toPaint = (app: App) => {
  const [node, ...others] = app.tab.chosen.nodes;
  return node === undefined || others.length ? null : paintable(app, node);
};

/** The group or note that is chosen alone, as the canvas calls it. */
const chosenFrame = ({ tab: { chosen } }: App): string | null => {
  const [frame, ...others] = [...[...chosen.groups].map((index) => `groups:${index}`), ...[...chosen.notes].map((index) => `notes:${index}`)];
  return frame === undefined || others.length || chosen.nodes.size ? null : frame;
};

/** The link that is chosen alone. */
const chosenLink = ({ tab: { chosen } }: App): string | null => (chosen.edges.size === 1 ? [...chosen.edges][0]! : null);

/** Let go of a link that was begun by a tap, else of what is chosen. */
const escape = (app: App) => (app.linking.tapped ? app.linking.end() : app.tab.choose({}));

/** Open the gallery and give it the keyboard, or close it and give that back. */
let beforeGallery: HTMLElement | null = null;
function toGallery(app: App): void {
  app.toggle("gallery");
  if (app.panel === "gallery") {
    beforeGallery = document.activeElement as HTMLElement | null;
    focusSoon(() => document.querySelector<HTMLElement>('.gallery .tile[tabindex="0"]'));
  } else if (beforeGallery?.isConnected) beforeGallery.focus();
}

export const COMMANDS: Command[] = [
  { id: "new", group: "file", keys: ["Alt+N"], run: (app) => newTab(app) },
  { id: "open", group: "file", keys: ["Mod+O"], always: true, run: (app) => (app.dialog = "open") },
  { id: "templates", group: "file", run: (app) => (app.dialog = "open") },
  { id: "save", group: "file", keys: ["Mod+S"], always: true, run: (app) => save(app) },
  { id: "save_as", group: "file", keys: ["Mod+Shift+S"], always: true, run: (app) => (app.dialog = "save") },
  { id: "import", group: "file", run: (app) => chooseFile(app) },
  { id: "export", group: "file", keys: ["Mod+E"], always: true, run: (app) => download(app) },
  { id: "export_call", group: "file", run: (app) => downloadCall(app) },
  { id: "export_comfyui", group: "file", run: exportForComfyui },
  { id: "close", group: "file", keys: ["Alt+W"], run: (app) => closeTab(app, app.tab) },
  { id: "undo", group: "edit", keys: ["Mod+Z"], repeats: true, always: true, can: (app) => app.tab.history.past.length > 0, run: (app) => app.tab.undo() },
  { id: "redo", group: "edit", keys: ["Mod+Shift+Z", "Mod+Y"], repeats: true, always: true, can: (app) => app.tab.history.future.length > 0, run: (app) => app.tab.redo() },
  { id: "cut", group: "edit", native: "Mod+X", can: copyable, run: (app) => cut(app) },
  { id: "copy", group: "edit", native: "Mod+C", can: copyable, run: (app) => copy(app) },
  { id: "paste", group: "edit", native: "Mod+V", run: (app) => pasteFromClipboard(app) },
  { id: "duplicate", group: "edit", keys: ["Mod+D"], can: copyable, run: duplicate },
  { id: "delete", group: "edit", keys: ["Delete", "Backspace"], can: anything, run: (app) => app.tab.deleteChosen() },
  { id: "select_all", group: "edit", keys: ["Mod+A"], run: (app) => app.tab.chooseAll() },
  { id: "select_none", group: "edit", keys: ["Escape"], can: (app) => anything(app) || app.linking.tapped, run: escape },
  { id: "add", group: "node", keys: ["Space", "Shift+A"], run: (app) => openSearch(app, null, null) },
  { id: "connect", group: "node", keys: ["C"], can: some, run: (app) => openConnect(app) },
  { id: "bend", group: "node", keys: ["B"], can: (app) => chosenLink(app) !== null, run: (app, at) => app.canvas?.bend(chosenLink(app)!, at ?? null) },
  { id: "straighten", group: "node", can: (app) => bent(app).length > 0, run: straighten },
  { id: "bypass", group: "node", keys: ["Mod+B"], can: some, run: (app) => bypass(app) },
  { id: "mute", group: "node", keys: isMac ? ["Alt+M", "Ctrl+M"] : ["Mod+M", "Alt+M"], can: some, run: (app) => mute(app) },
  { id: "dissolve", group: "node", keys: ["Shift+Delete"], can: some, run: (app) => dissolve(app) },
  { id: "paint_mask", group: "node", keys: ["M"], can: (app) => toPaint(app) !== null, run: (app) => paintMask(app, toPaint(app)!) },
  { id: "fold", group: "node", keys: ["Alt+C"], can: some, run: fold },
  { id: "group", group: "node", keys: ["Mod+G"], can: some, run: (app) => group(app) },
  { id: "subgraph", group: "node", keys: ["Mod+Shift+G"], can: some, needs: "command.needs_nodes", run: enclose },
  { id: "open_subgraph", group: "node", keys: ["Alt+ArrowDown"], can: (app) => chosenUse(app) !== null, needs: "command.needs_use", run: (app) => app.tab.go([...app.tab.path, chosenUse(app)!]) },
  { id: "leave_subgraph", group: "node", keys: ["Alt+ArrowUp"], can: (app) => app.tab.path.length > 0, run: (app) => app.tab.go(app.tab.path.slice(0, -1)) },
  { id: "unpack", group: "node", keys: ["Mod+Shift+U"], can: (app) => chosenUse(app) !== null, needs: "command.needs_use", run: unpack },
  { id: "note", group: "node", keys: ["N"], run: (app) => note(app) },
  { id: "write", group: "node", keys: ["F2"], can: (app) => chosenFrame(app) !== null, run: (app) => (app.writing = chosenFrame(app)) },
  { id: "tidy", group: "node", keys: ["L"], run: (app) => tidy(app) },
  { id: "align_left", group: "node", can: several, run: (app) => align(app, "x", "start") },
  { id: "align_top", group: "node", can: several, run: (app) => align(app, "y", "start") },
  { id: "spread_x", group: "node", can: several, run: (app) => align(app, "x", "even") },
  { id: "spread_y", group: "node", can: several, run: (app) => align(app, "y", "even") },
  ...move("left", -1, 0), ...move("right", 1, 0), ...move("up", 0, -1), ...move("down", 0, 1),
  { id: "fit", group: "view", keys: ["F", "Home"], run: (app) => app.canvas?.fit() },
  { id: "fit_selection", group: "view", keys: ["Shift+F"], can: some, run: (app) => app.canvas?.fit(app.tab.chosen.nodes) },
  { id: "zoom_in", group: "view", keys: ["+", "="], repeats: true, run: (app) => app.canvas?.zoom(1.25) },
  { id: "zoom_out", group: "view", keys: ["-"], repeats: true, run: (app) => app.canvas?.zoom(0.8) },
  { id: "find", group: "view", keys: ["Mod+F"], always: true, run: (app) => openFind(app) },
  ...DIGITS.map((digit): Command => ({ id: `go_${digit}`, group: "view", keys: [digit], can: (app) => isKept(app, digit), run: (app) => goToPlace(app, digit) })),
  ...DIGITS.map((digit): Command => ({ id: `keep_${digit}`, group: "view", keys: [`Shift+${digit}`], run: (app) => keepPlace(app, digit) })),
  { id: "forget_places", group: "view", can: (app) => DIGITS.some((digit) => isKept(app, digit)), run: forgetPlaces },
  { id: "palette", group: "view", keys: ["Mod+K"], always: true, run: (app) => openPalette(app) },
  { id: "hide_links", group: "view", keys: ["Alt+L"], run: ({ settings }) => settings.set({ links: settings.links === "hidden" ? "default" : "hidden" }) },
  { id: "queue", group: "view", keys: ["Q"], run: (app) => app.toggle("queue") },
  { id: "gallery", group: "view", keys: ["G"], run: toGallery },
  { id: "problems", group: "view", keys: ["P"], run: (app) => app.toggle("problems") },
  { id: "trash", group: "view", run: (app) => app.toggle("trash") },
  { id: "first_problem", group: "view", keys: ["F8"], always: true, can: (app) => app.problems.all.length > 0, run: (app) => nextProblem(app) },
  { id: "settings", group: "view", keys: ["Mod+,"], always: true, run: (app) => (app.dialog = "settings") },
  { id: "keys", group: "view", keys: ["?"], run: (app) => (app.dialog = "keys") },
  { id: "run", group: "run", keys: ["Mod+Enter"], always: true, run: (app) => run(app) },
  { id: "run_here", group: "run", keys: ["Mod+Shift+Enter"], always: true, can: some, run: (app) => run(app, [...app.tab.chosen.nodes].map((id) => app.tab.fullId(id))) },
  { id: "cancel", group: "run", keys: ["Mod+."], always: true, can: (app) => app.shown?.active ?? false, run: (app) => cancel(app) },
  { id: "grid", group: "run", can: (app) => Object.keys(app.tab.root.nodes).length > 0, run: (app) => (app.dialog = "grid") },
  { id: "new_seeds", group: "run", run: (app) => newSeeds(app) },
];

export const GROUPS: Group[] = ["file", "edit", "node", "view", "run"];
export const byId = new Map(COMMANDS.map((command) => [command.id, command]));

/** The keys of a command as they are shown; empty where it has none. */
export const keyLabel = (id: string, app: App): string => {
  const command = byId.get(id);
  return command ? shown(keysOf(command, app.settings.keys)[0] ?? "") : "";
};

/** Every command that can run now, and those of which it is told what they need. */
function openPalette(app: App): void {
  const now = new Set(COMMANDS.filter((command) => command.id !== "palette" && (!command.can || command.can(app))));
  const listed = [...now, ...COMMANDS.filter((command) => command.needs && !now.has(command))];
  app.picking = {
    title: t("palette.title"), placeholder: t("palette.placeholder"), at: null,
    choices: listed.map((command) => ({
      id: command.id, label: t(`command.${command.id}`), hint: now.has(command) ? keyLabel(command.id, app) : t(command.needs!),
      detail: t(`group.${command.group}`),
      aliases: Object.fromEntries(alsoCalled(`command.${command.id}`).map((name) => [name, t("search.also", { name })])),
    })),
    pick: (id) => {
      const command = byId.get(id)!;
      if (now.has(command)) command.run(app);
      else app.toast(`${t(`command.${id}`)}: ${t(command.needs!)}`);
    },
  };
}

/** Run the command that the pressed keys stand for, if there is one and it can run now. */
export function onkeydown(app: App, event: KeyboardEvent): void {
  if (event.defaultPrevented || app.picking || app.large || (app.dialog && event.key !== "Escape")) return;
  const keys = pressed(event);
  const standsFor = (name: string) => COMMANDS.find((one) => !one.native && keysOf(one, app.settings.keys).includes(name));
  const command = (keys && standsFor(keys)) || standsFor(digit(event));
  if (!command || (event.repeat && !command.repeats)) return;
  const target = event.target as HTMLElement;
  if (isTyping(target) && !(command.always && typesNothing(keys))) return;
  const presses = target.closest?.("button, a, [role=menuitem], [role=slider]");
  if (presses && ["Space", "Enter"].includes(keys)) return;
  // Also where nothing can be done now: the browser's own undo would change a field that is long done with.
  event.preventDefault();
  if (app.dialog) app.dialog = null;
  else if (!command.can || command.can(app)) command.run(app);
}
