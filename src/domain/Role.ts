import { Schema } from "effect"

/** Which end of an endpoint a client is: beside the service (`destination`) or beside its user (`source`). */
export const Role = Schema.Literals(["destination", "source"])

export type Role = typeof Role.Type

/** The role that a peer of `role` has. */
export const opposite = (role: Role): Role => (role === "destination" ? "source" : "destination")
