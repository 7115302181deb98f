/** Finding a program as the system would. No process is started here. */

import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import * as path from "node:path";

/** Whether a file is there and may be run. */
export async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/**
 * The full path of `name`, looked for in the folders of PATH; null if it is in none.
 *
 * `env` is the environment, `platform` as `process.platform` has it.
 */
export async function findExecutable(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  platform: string,
  exists: (file: string) => Promise<boolean> = isExecutable,
): Promise<string | null> {
  const windows = platform === "win32";
  const flavour = windows ? path.win32 : path.posix;
  // Windows writes it `Path`; its names are equal in any case.
  const key = windows ? Object.keys(env).find((key) => key.toUpperCase() === "PATH") : "PATH";
  const folders = (key === undefined ? "" : (env[key] ?? "")).split(flavour.delimiter);
  const endings = windows ? (env["PATHEXT"] ?? ".EXE").split(";") : [""];
  for (const folder of folders) {
    // An empty entry or a relative one means the current folder: never what anyone wants.
    if (!flavour.isAbsolute(folder)) continue;
    for (const ending of endings) {
      const file = flavour.join(folder, name + ending);
      if (await exists(file)) return file;
    }
  }
  return null;
}
