import { deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { DocumentError } from "../src/model/document";
import { pngText } from "../src/model/picture";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const bytes = (text: string) => [...Buffer.from(text, "utf-8")];

/** A PNG of one chunk, or so it says. */
function png(type: string, body: number[], length = body.length): Uint8Array {
  return new Uint8Array([...SIGNATURE, 0, 0, length >> 8, length & 255, ...bytes(type), ...body, 0, 0, 0, 0]);
}
const itxt = (compressed: number, body: number[]) => png("iTXt", [...bytes("nodegraph"), 0, compressed, 0, 0, 0, ...body]);
const packed = (text: string) => [...deflateSync(Buffer.from(text, "utf-8"))];

describe("the text in a PNG", () => {
  it.each([
    [itxt(0, bytes("{\u753b}"))], [itxt(1, packed("{\u753b}"))],
  ])("is read, packed or not: %#", async (file) => expect(await pngText(file)).toBe("{\u753b}"));

  it.each([
    ["is damaged", itxt(1, [1, 2, 3, 4])], // nothing that was ever packed
    ["is damaged", itxt(1, packed("{".repeat(500)).slice(0, -6))],
    ["is damaged", itxt(0, [0xff, 0xfe, 0x80])], // no text
    ["is damaged", png("zTXt", [...bytes("nodegraph"), 0, 0, 9, 9])],
    ["too long", itxt(1, packed(" ".repeat(33 * 2 ** 20)))],
    ["cut short", png("iTXt", bytes("nodegraph"), 5000)],
    ["carries no workflow", png("tEXt", [...bytes("parameters"), 0, 65])],
    ["is no PNG", new Uint8Array(bytes("GIF89a"))],
  ])("is refused in words where it %s: %#", async (words, file) => {
    const refused = await pngText(file).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(DocumentError);
    expect((refused as DocumentError).message).toContain(words);
  });
});
