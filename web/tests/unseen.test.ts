import { expect, test } from "vitest";
import { emptyWorkflow } from "../src/model/document";
import { addNode, link, setMuted } from "../src/model/edit";
import { unseen } from "../src/model/unseen";
import { input, output, TYPES } from "./catalog";

const types = {
  ...TYPES,
  Decode: { ...TYPES["Half"]!, name: "Decode", inputs: [input("latent", ["Latent"])], outputs: [output("image", "Image")] },
  Noise: { ...TYPES["Half"]!, name: "Noise", inputs: [], outputs: [output("latent", "Latent")] },
  Show: { ...TYPES["Show"]!, effect: "always" as const },
};
const at = { x: 0, y: 0 };

test("a picture that nothing shows or saves is found, behind it a latent", () => {
  const noise = addNode(emptyWorkflow(), "noise", "Noise", at);
  expect(unseen(noise, types)).toEqual({ from: { node: "noise", output: "latent" }, isPicture: false });
  const decoded = link(addNode(noise, "decode", "Decode", at), { node: "noise", output: "latent" }, { node: "decode", input: "latent" }, false);
  expect(unseen(decoded, types)).toEqual({ from: { node: "decode", output: "image" }, isPicture: true });
  const shown = link(addNode(decoded, "show", "Show", at), { node: "decode", output: "image" }, { node: "show", input: "image" }, false);
  expect(unseen(shown, types)).toBeNull();
  expect(unseen(setMuted(shown, ["show"], true), types)).toMatchObject({ isPicture: true });
  expect(unseen(addNode(emptyWorkflow(), "n", "Number", at), types)).toBeNull();
});
