/** Throws what several callbacks threw: the error itself when it is the only one; nothing when there is none. */
export function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, 'several memory listeners failed');
}
