import type { PeerError } from "../../peer/PeerError.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { type Problem, problems } from "./errorPage.ts"

/** What users are told of a dial that failed. */
export const dialProblem = (endpoint: string, { reason }: PeerError): Problem => {
  if (reason._tag === "PeerUnreachable") {
    return reason.peers === 0 ? problems.noDestination(endpoint) : problems.dialTimedOut(endpoint)
  }
  const refused = `(code ${ErrorCode.DestinationDialFailed})`
  return reason.causes.some((cause) => cause.endsWith(refused))
    ? problems.serviceRefused(endpoint)
    : problems.allDialsFailed(endpoint)
}
