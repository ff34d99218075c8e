import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Long enough for a busy machine: a test that hangs ends all the same.
export default defineConfig({ plugins: [svelte()], test: { include: ["tests/**/*.test.ts"], environment: "node", setupFiles: ["tests/setup.ts"], testTimeout: 60_000 } });
