// Files that a workflow names and the server does not have.
import type { FileEntry } from "../api/generated";
import { own, type NodeSpec } from "../model/document";
import type { Types } from "../model/fit";
import { fileKind } from "../model/value";

/** The node types and the files that the server has. */
export interface Known {
  readonly types: Types;
  readonly files: { [kind: string]: FileEntry[] };
}

/** The inputs of a node whose file is not there, and the names of its kind that are. */
export function missingFiles(known: Known, spec: NodeSpec): { input: string; name: string; there: string[] }[] {
  return (own(known.types, spec.type)?.inputs ?? []).flatMap((input) => {
    const kind = fileKind(input);
    const name = own(spec.values, input.name);
    if (kind === null || typeof name !== "string" || name === "") return [];
    const there = (own(known.files, kind) ?? []).map((one) => one.name);
    return there.includes(name) ? [] : [{ input: input.name, name, there }];
  });
}
