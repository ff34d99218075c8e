/** Svelte 5 reads TypeScript itself; nothing else is preprocessed. */
export default { compilerOptions: { runes: true } };
