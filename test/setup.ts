/**
 * Property tests draw the same examples every time, so that a change and not chance decides whether they pass.
 * `VIOMMU_SEED=random` draws others, `VIOMMU_SEED=N` those of a run that is to be seen again.
 */
import fc from 'fast-check';

const wanted = process.env['VIOMMU_SEED'] ?? '20261122';
if (wanted !== 'random') {
  const seed = Number(wanted);
  if (!Number.isInteger(seed)) throw new Error(`VIOMMU_SEED=${wanted}: give an integer, or random`);
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });
}
