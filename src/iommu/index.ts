/** What a guest IOMMU is, whatever its kind: mappings, walks, notifiers, replay, the ledger and reconcile. @module */
export * from './default-walk.ts';
export * from './granule-runs.ts';
export * from './guest-iommu.ts';
export * from './iommu-region.ts';
export * from './invalidation-batch.ts';
export * from './iotlb.ts';
export * from './leaf-batch.ts';
export * from './ledger.ts';
export { leadsToRam } from './ledger-flags.ts';
export * from './notifier.ts';
export * from './radix-translate.ts';
export * from './radix-walk.ts';
export * from './requester-id.ts';
export * from './requester-spaces.ts';
export * from './requester-view.ts';
export * from './sequencer.ts';
export * from './table-format.ts';
export * from './walk-report.ts';
