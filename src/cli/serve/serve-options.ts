/** What `viommu serve` was asked for. */
export interface ServeOptions {
  readonly socket: string;
  readonly device: 'probe' | 'edu';
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly messages?: boolean;
  readonly strict?: boolean;
  readonly maxDmaMaps: number;
}
