// Files that a workflow names and the server does not have.
import type { FileEntry } from "../api/generated";
import { own, type NodeSpec } from "../model/document";
import type { Types } from "../model/fit";
import { fileKind, someOf } from "../model/value";

const IMAGES = "images"; // these come by upload, not from a folder of models

/** The node types and the files that the server has. */
export interface Known {
  readonly types: Types;
  readonly files: { [kind: string]: FileEntry[] };
}

/** A file that is not there: the input that names it, its kind, and the names of that kind that are. */
export interface Missing {
  input: string;
  name: string;
  kind: string;
  there: string[];
}

/** What is said of a file that is not there: what is instead, or where one is looked for. */
export const toldMissing = ({ name, kind, there }: Omit<Missing, "input">): { key: string; slots: { [slot: string]: string } } =>
  isModel({ kind }) && !there.length
    ? { key: "file.nowhere", slots: { name, kind } }
    : { key: "file.missing", slots: { name, there: someOf(there) } };

/** Whether a file comes from a folder of models: then the folder may be one that the server does not know. */
export const isModel = ({ kind }: Pick<Missing, "kind">): boolean => kind !== IMAGES;

/** The inputs of a node whose file is not there. */
export function missingFiles(known: Known, spec: NodeSpec): Missing[] {
  return (own(known.types, spec.type)?.inputs ?? []).flatMap((input) => {
    const kind = fileKind(input);
    const name = own(spec.values, input.name);
    if (kind === null || typeof name !== "string" || name === "") return [];
    const there = (own(known.files, kind) ?? []).map((one) => one.name);
    return there.includes(name) ? [] : [{ input: input.name, name, kind, there }];
  });
}
