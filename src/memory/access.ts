/** What a DMA may do, or what a mapping allows: bit 0 read, bit 1 write. */
export type Access = 0 | 1 | 2 | 3;

/** The values of {@link Access}. `None` asks what a translation allows without being an access itself. */
export const Access: {
  readonly None: 0;
  readonly Read: 1;
  readonly Write: 2;
  readonly ReadWrite: 3;
} = { None: 0, Read: 1, Write: 2, ReadWrite: 3 };

const TEXT = ['none', 'r', 'w', 'rw'] as const;

/** `r`, `w`, `rw` or `none`. */
export function formatAccess(access: Access): string {
  return TEXT[access];
}
