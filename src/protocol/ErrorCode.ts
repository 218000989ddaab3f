/** Why a request or a connection was refused: the numbers that answers carry and that connections are closed with. */
export const ErrorCode = {
  Unknown: 0,
  RequestUnknown: 1,
  ConnectionCheckFailed: 2,
  AuthenticationFailed: 100,
  EndpointNotAllowed: 101,
  RoleNotAllowed: 102,
  AnnounceValidationFailed: 200,
  AnnounceInvalidClientCertificate: 201,
  AnnounceInvalidServerCertificate: 202,
  RelayValidationFailed: 300,
  RelayInvalidCertificate: 301,
  RelayKeepaliveClosed: 302,
  DirectConnectionClosed: 400,
  DirectKeepaliveClosed: 401,
  DestinationNotFound: 500,
  DestinationDialFailed: 501,
  DestinationRelayEncryptionError: 502
} as const

export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode]

const DESCRIPTIONS: Readonly<Record<ErrorCode, string>> = {
  [ErrorCode.Unknown]: "no particular reason",
  [ErrorCode.RequestUnknown]: "the request is not one that is served here",
  [ErrorCode.ConnectionCheckFailed]: "the first exchange on the connection failed",
  [ErrorCode.AuthenticationFailed]: "not authenticated",
  [ErrorCode.EndpointNotAllowed]: "the token may not use this endpoint",
  [ErrorCode.RoleNotAllowed]: "the token may not have this role",
  [ErrorCode.AnnounceValidationFailed]: "the announcement is not valid",
  [ErrorCode.AnnounceInvalidClientCertificate]: "the announced client certificate is not valid",
  [ErrorCode.AnnounceInvalidServerCertificate]: "the announced server certificate is not valid",
  [ErrorCode.RelayValidationFailed]: "the request for relays is not valid",
  [ErrorCode.RelayInvalidCertificate]: "the certificate for relays is not valid",
  [ErrorCode.RelayKeepaliveClosed]: "the relay link is not needed any more",
  [ErrorCode.DirectConnectionClosed]: "the direct link was closed",
  [ErrorCode.DirectKeepaliveClosed]: "the direct link is not needed any more",
  [ErrorCode.DestinationNotFound]: "no destination of this name is there",
  [ErrorCode.DestinationDialFailed]: "no destination could be reached",
  [ErrorCode.DestinationRelayEncryptionError]: "source and destination agree on no encryption for relays"
}

/** What a code means in a few words; codes of newer programs have none. */
export const describe = (code: number): string => DESCRIPTIONS[code as ErrorCode] ?? `code ${code}`
