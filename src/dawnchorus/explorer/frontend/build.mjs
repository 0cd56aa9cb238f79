// Builds the page: src/main.js and its libraries into ../page/explorer.js, their licences into LICENCES.txt.
// With --check, nothing is written: the exit status says whether what is committed is what would be built.

import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const page = join(here, "..", "page");

const built = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.js"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  write: false,
});

function licences(inputs) {
  const folders = new Set();
  for (const path of Object.keys(inputs)) {
    const found = path.match(/^(node_modules\/.*?)(?=\/)/) && path.match(/^((?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+)\//);
    if (found) folders.add(found[1]);
  }
  const parts = [...folders].sort().map((folder) => {
    const about = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
    const file = readdirSync(join(here, folder)).find((name) => /^licen[cs]e(\.|$)/i.test(name));
    const text = file ? readFileSync(join(here, folder, file), "utf8").trim()
      : `Licence: ${about.license} (the package carries no text of its own)`;
    return `${about.name} ${about.version} (${about.license})\n\n${text}\n`;
  });
  return `Libraries in explorer.js, and their licences.\n\n${parts.join(`\n${"-".repeat(78)}\n\n`)}`;
}

const files = {
  "explorer.js": built.outputFiles[0].text,
  "LICENCES.txt": licences(built.metafile.inputs),
};
let same = true;
for (const [name, text] of Object.entries(files)) {
  const path = join(page, name);
  if (process.argv.includes("--check")) {
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
      console.error(`${name} is not what src/ builds: run 'npm run build' and commit it`);
      same = false;
    }
  } else {
    writeFileSync(path, text);
    console.log(`${name}: ${Math.round(text.length / 1000)} kB`);
  }
}
process.exit(same ? 0 : 1);
