// The workflow that a PNG carries in a text chunk. Read as data only; nothing of the picture is decoded.
import { DocumentError } from "./document";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const MAX_TEXT = 32 * 2 ** 20;

export const isPng = (bytes: Uint8Array): boolean => SIGNATURE.every((byte, index) => bytes[index] === byte);

/** The text that a PNG carries under a keyword. Throws DocumentError where it has none. */
export async function pngText(bytes: Uint8Array, keyword = "nodegraph"): Promise<string> {
  if (!isPng(bytes)) throw new DocumentError("this file is no PNG");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (body.length < length) throw new DocumentError("the PNG is cut short");
    const end = body.indexOf(0);
    if ((type === "tEXt" || type === "zTXt" || type === "iTXt") && end >= 0 && latin(body.subarray(0, end)) === keyword) {
      return chunkText(type, body.subarray(end + 1)).catch((error: unknown) => {
        throw error instanceof DocumentError ? error : new DocumentError("the workflow in this PNG is damaged");
      });
    }
    if (type === "IEND") break;
    at += 12 + length;
  }
  throw new DocumentError("this PNG carries no workflow; those that nodegraph or ComfyUI saved do, unless a program or a site has removed it");
}

async function chunkText(type: string, rest: Uint8Array): Promise<string> {
  if (type === "tEXt") return latin(rest);
  if (type === "zTXt") return latin(await inflate(rest.subarray(1)));
  const compressed = rest[0] === 1;
  const afterLanguage = rest.indexOf(0, 2) + 1;
  const afterTranslation = rest.indexOf(0, afterLanguage) + 1;
  const body = rest.subarray(afterTranslation);
  return new TextDecoder("utf-8", { fatal: true }).decode(compressed ? await inflate(body) : body);
}

const latin = (bytes: Uint8Array): string => new TextDecoder("latin1").decode(bytes);

async function inflate(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes as BlobPart]).stream().pipeThrough(new DecompressionStream("deflate"));
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = stream.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    if (size > MAX_TEXT) throw new DocumentError("the workflow in this PNG is too long");
    parts.push(part.value);
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}
