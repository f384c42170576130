// Bundles every script: node build.mjs FOLDER. Called by tools.bundle.
import { readdirSync } from "node:fs";
import { buildSync } from "esbuild";

const folder = process.argv[2];
const shared = { bundle: true, minify: true, charset: "utf8", target: "es2022", logLevel: "warning", outdir: folder };
const figures = readdirSync("figures").filter((name) => name.endsWith(".js")).sort().map((name) => `figures/${name}`);

buildSync({ ...shared, entryPoints: ["page.js"], format: "iife" });
buildSync({ ...shared, entryPoints: figures, format: "esm" });
