import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The server sends these files under a content security policy without inline scripts, styles in elements or eval.
export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../nodegraph/editor",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    license: { fileName: "licenses.md" },
    rolldownOptions: { output: { entryFileNames: "assets/[name]-[hash].js" } },
  },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8188", ws: true } } },
});
