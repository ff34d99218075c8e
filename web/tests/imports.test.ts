import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";

const SRC = join(import.meta.dirname, "../src");
// Who is on a floor may import from those before it, and from its own.
const FLOORS = [["words", "theme"], ["i18n"], ["lib", "api"], ["model"], ["state", "panels"], ["widgets"], ["canvas"], ["phone"], ["App.svelte"], ["main.ts"]];
const floorOf = (file: string) => FLOORS.findIndex((rooms) => rooms.includes(file.split("/")[0]!));

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => /\.(ts|svelte)$/.test(file));
const IMPORT = /^\s*(?:import|export)\s(?:[^;"]*?\sfrom\s+)?"(\.[^"]+)"/gm;

/** What a file imports from this project, types too. */
function importsOf(file: string): string[] {
  return [...readFileSync(join(SRC, file), "utf8").matchAll(IMPORT)].flatMap(([, path]) => {
    const wanted = join(dirname(join(SRC, file)), path!);
    const found = [wanted, `${wanted}.ts`, `${wanted}.svelte`].find((one) => /\.(ts|svelte|css)$/.test(one) && existsSync(one));
    expect(found, `${file} imports ${path}`).toBeDefined();
    return found!.endsWith(".css") ? [] : [relative(SRC, found!)];
  });
}
const graph = new Map(files.map((file) => [file, importsOf(file)]));

test("imports are seen", () => {
  expect(graph.get("main.ts")).toContain("App.svelte");
  expect(graph.get("canvas/GraphView.svelte")).toContain("state/app.svelte.ts");
  expect([...graph.values()].flat().length).toBeGreaterThan(400);
});

test("nobody imports from a higher floor", () => {
  const up = [...graph].flatMap(([file, all]) => all.filter((one) => floorOf(one) > floorOf(file)).map((one) => `${file} -> ${one}`));
  expect(files.filter((file) => floorOf(file) < 0)).toEqual([]);
  expect(up).toEqual([]);
});

test("no module comes back to itself, not even for its types", () => {
  const done = new Set<string>();
  const circles: string[][] = [];
  function visit(file: string, path: string[]) {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file]);
    else if (!done.has(file)) {
      for (const one of graph.get(file) ?? []) visit(one, [...path, file]);
      done.add(file);
    }
  }
  for (const file of files) visit(file, []);
  expect(circles).toEqual([]);
});

test("no file is far larger than the others", () => {
  const long = files.filter((file) => file !== "api/generated.ts" && readFileSync(join(SRC, file), "utf8").split("\n").length > 310);
  expect(long).toEqual([]);
});
