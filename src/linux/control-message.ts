/** The layout of control messages, by which descriptors travel. @module */

/** `sizeof(struct cmsghdr)` on 64-bit machines. */
export const CMSGHDR_BYTES = 16;

/** The room that so many bytes take: control messages begin at whole 8 bytes. */
export function alignUp(bytes: number): number {
  return (bytes + 7) & ~7;
}
