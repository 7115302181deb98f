/** What goes wrong, as one line for the user; everything else belongs in the log. */

/** Something the user can be told as it is. */
export class UserError extends Error {
  override readonly name = "UserError";
}

/** LSP's and JSON-RPC's codes that need a word of ours. */
const CANCELLED = new Set([-32800, -32802]);
const METHOD_NOT_FOUND = -32601;
const CONNECTION_GONE = new Set([-32099, -32097, -32096]);

/** Whether this is the end that the user asked for. */
export function isCancelled(error: unknown): boolean {
  return error instanceof Error && (error.name === "Canceled" || CANCELLED.has(codeOf(error)));
}

/** One line for the user; null for a cancellation, which needs none. */
export function userMessage(error: unknown): string | null {
  if (isCancelled(error)) return null;
  if (!(error instanceof Error)) return "something went wrong: “ingle: Show Log” has more";
  const code = codeOf(error);
  if (code === METHOD_NOT_FOUND) {
    return "this ingle-lsp is too old for that: pip install -U ingle";
  }
  if (CONNECTION_GONE.has(code)) return "ingle-lsp has ended meanwhile: try again";
  if (error instanceof UserError || !Number.isNaN(code)) return firstLine(error.message);
  return `something went wrong (${error.name}): “ingle: Show Log” has more`;
}

function codeOf(error: Error): number {
  return "code" in error && typeof error.code === "number" ? error.code : NaN;
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0] ?? "";
}
