import fc from "fast-check";

// The same examples at each run, but where others are looked for.
if (process.env["HYPOTHESIS_PROFILE"] !== "explore") fc.configureGlobal({ seed: 7 });
