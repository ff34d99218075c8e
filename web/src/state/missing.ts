// Files that a workflow names and the server does not have.
import { own, type NodeSpec } from "../model/document";
import { fileKind } from "../model/value";
import type { App } from "./app.svelte";

/** The inputs of a node whose file is not there, and the names of its kind that are. */
export function missingFiles(app: Pick<App, "types" | "files">, spec: NodeSpec): { input: string; name: string; there: string[] }[] {
  return (own(app.types, spec.type)?.inputs ?? []).flatMap((input) => {
    const kind = fileKind(input);
    const name = own(spec.values, input.name);
    if (kind === null || typeof name !== "string" || name === "") return [];
    const there = (own(app.files, kind) ?? []).map((one) => one.name);
    return there.includes(name) ? [] : [{ input: input.name, name, there }];
  });
}
