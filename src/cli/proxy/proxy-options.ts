/** What `viommu proxy` was asked for. */
export interface ProxyOptions {
  readonly listen: string;
  readonly connect: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly merge?: boolean;
}
