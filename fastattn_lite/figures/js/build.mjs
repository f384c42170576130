// Bundles every script: node build.mjs FOLDER. Called by tools.bundle.
import { readdirSync } from "node:fs";
import { buildSync } from "esbuild";

const folder = process.argv[2];
const options = { bundle: true, minify: true, charset: "utf8", target: "es2022", logLevel: "warning" };
const figures = readdirSync("figures").filter((name) => name.endsWith(".js")).sort().map((name) => `figures/${name}`);

// The worker travels as text inside the scripts that start it: a page on disk may load no other file.
const worker = buildSync({ ...options, entryPoints: ["race/worker.js"], format: "iife", write: false }).outputFiles[0].text;
const shared = { ...options, outdir: folder, define: { RACE_WORKER: JSON.stringify(worker) } };

buildSync({ ...shared, entryPoints: ["page.js"], format: "iife" });
buildSync({ ...shared, entryPoints: figures, format: "esm" });
