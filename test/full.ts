/** `CONNET_TEST_FULL=1`: as many bytes and users as are promised; without it, enough to see that it works. */
export const full = (promised: number, usually: number): number =>
  process.env.CONNET_TEST_FULL === "1" ? promised : usually
