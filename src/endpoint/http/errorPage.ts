/**
 * What users are told when a request cannot be answered: what is wrong, and what to check. Plain text, or HTML for whoever
 * prefers it. Nothing of addresses, paths or causes: those are in the log.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { isHttp2 } from "./requestHead.ts"

export interface Problem {
  readonly status: number
  readonly title: string
  /** Sentences: what happened, what to check. */
  readonly text: string
}

export const problems = {
  noDestination: (endpoint: string): Problem => ({
    status: 502,
    title: "No destination",
    text: `No destination of "${endpoint}" is online. Check that the client beside the service is running, connected, and uses the same endpoint name.`
  }),
  allDialsFailed: (endpoint: string): Problem => ({
    status: 502,
    title: "Destination not reached",
    text: `Destinations of "${endpoint}" are online, but none of them could be reached. Check the network between the clients, and the log of the source for what was tried.`
  }),
  serviceRefused: (endpoint: string): Problem => ({
    status: 502,
    title: "Service not reached",
    text: `The destination of "${endpoint}" is online, but the service behind it refused or broke the connection. Check that the service is running, and that the destination's url leads to it.`
  }),
  dialTimedOut: (endpoint: string): Problem => ({
    status: 504,
    title: "Destination timed out",
    text: `Destinations of "${endpoint}" are online, but none of them answered in time. Check the network between the clients, and dial-timeout.`
  }),
  serviceTimedOut: (endpoint: string): Problem => ({
    status: 504,
    title: "Service timed out",
    text: `The service behind the destination of "${endpoint}" did not answer in time. Check whether the service is overloaded or stuck.`
  }),
  busy: { status: 503, title: "Too many requests at once", text: "Try again in a moment." },
  stalled: { status: 408, title: "Request timed out", text: "The request stopped before it was complete." },
  refused: (status: number, why: string): Problem => ({
    status,
    title: "Request refused",
    text: `The request was refused: ${why}.`
  })
} as const

/** Answers with a problem, if nothing was answered yet. */
export const respond = (req: IncomingMessage, res: ServerResponse, problem: Problem): void => {
  if (res.headersSent || res.destroyed) {
    res.destroy()
    return
  }
  const html = prefersHtml(req.headers.accept)
  const body = html ? page(problem) : `${problem.status} ${problem.title}\n\n${problem.text}\n`
  res.writeHead(problem.status, {
    "Content-Type": `text/${html ? "html" : "plain"}; charset=utf-8`,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    ...(html && { "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'" }),
    ...(problem.status === 503 && { "Retry-After": "1" }),
    ...(problem.status === 405 && { Allow: "GET, HEAD" }),
    ...(problem.status === 426 && { Upgrade: "websocket" }),
    ...(DOUBTFUL.has(problem.status) && !isHttp2(req) && { Connection: "close" })
  })
  res.end(req.method === "HEAD" ? undefined : body)
}

/** After these it is not sure where the next request begins. */
const DOUBTFUL = new Set([400, 408, 431, 501, 505])

/** Whether HTML is named, and weighs no less than plain text (RFC 9110 §12.5.1). */
const prefersHtml = (accept = ""): boolean => {
  const weights = new Map(
    accept.split(",").map((entry) => {
      const [type = "", ...parameters] = entry.split(";").map((part) => part.trim().toLowerCase())
      const weight = Number(parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1)
      return [type, Number.isNaN(weight) ? 0 : weight] as const
    })
  )
  const plain = weights.get("text/plain") ?? weights.get("text/*") ?? weights.get("*/*") ?? 0
  return (weights.get("text/html") ?? 0) > 0 && weights.get("text/html")! >= plain
}

const page = ({ status, title, text }: Problem): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${status} ${escapeHtml(title)}</title>
<style>${PAGE_STYLE}</style>
<h1>${status} ${escapeHtml(title)}</h1>
<p>${escapeHtml(text)}</p>
</html>
`

/** Text as it may stand in HTML, in attributes as well. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character]!)

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" }

/** Of all pages that are made here. */
export const PAGE_STYLE =
  "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}" +
  "table{border-collapse:collapse;width:100%}td{padding:.15rem .5rem .15rem 0}td+td{text-align:right;color:#666}" +
  "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8bf}td+td{color:#999}}"
