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
