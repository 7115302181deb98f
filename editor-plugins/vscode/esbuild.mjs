// Builds what ships (dist/) and, with --tests, what only tests need (out/).

import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const production = process.argv.includes("--production");

const common = {
  bundle: true,
  minify: production,
  sourcemap: production ? false : "linked",
  target: "es2022",
  logLevel: "warning",
  metafile: true,
};
const inHost = {
  ...common,
  platform: "node",
  format: "cjs",
  external: ["vscode"],
  target: "node20",
};
const inWebview = { ...common, platform: "browser", format: "iife" };

await rm("dist", { recursive: true, force: true });
const results = await Promise.all([
  build({ ...inHost, entryPoints: ["src/extension.ts"], outfile: "dist/extension.js" }),
  build({
    ...inWebview,
    entryPoints: ["src/webview/chat.ts", "src/webview/document.ts"],
    outdir: "dist/webview",
  }),
]);
await writeFile("dist/THIRD-PARTY-LICENSES.txt", await licenses(results));

if (process.argv.includes("--tests")) {
  await rm("out", { recursive: true, force: true });
  const tests = (await readdir("test/unit")).map((name) => `test/unit/${name}`);
  await build({ ...inHost, entryPoints: tests, outdir: "out/unit" });
  const host = (await readdir("test/host")).map((name) => `test/host/${name}`);
  await build({ ...inHost, entryPoints: host, outdir: "out/host" });
}

/** The licences of the packages that ended up in the bundles. */
async function licenses(results) {
  const packages = new Set();
  for (const { metafile } of results) {
    for (const [name, { bytesInOutput }] of Object.values(metafile.outputs).flatMap(({ inputs }) =>
      Object.entries(inputs),
    )) {
      const found = /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name);
      if (found && bytesInOutput > 0) packages.add(found[0]);
    }
  }
  const texts = [];
  for (const folder of [...packages].sort()) {
    const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} comes without the text of its licence`);
    texts.push(`${name} ${version} (${license})\n\n${await readFile(`${folder}/${file}`, "utf8")}`);
  }
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}
