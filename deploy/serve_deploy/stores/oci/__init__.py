"""Model repositories as OCI images: pushed to a registry, and mounted by Kubernetes as image volumes."""

from serve_deploy.stores.oci.pulling import ImageReader as ImageReader
from serve_deploy.stores.oci.pulling import open_image as open_image
from serve_deploy.stores.oci.pushing import ImagePush as ImagePush
from serve_deploy.stores.oci.pushing import PushedImage as PushedImage
from serve_deploy.stores.oci.pushing import find_sharers as find_sharers
from serve_deploy.stores.oci.pushing import push_image as push_image
from serve_deploy.stores.oci.reading import ForeignImageError as ForeignImageError
from serve_deploy.stores.oci.reading import ImageCheck as ImageCheck
from serve_deploy.stores.oci.reading import StoredImage as StoredImage
from serve_deploy.stores.oci.reading import check_image as check_image
from serve_deploy.stores.oci.reading import read_image as read_image
from serve_deploy.stores.oci.signatures import read_signatures as read_signatures
from serve_deploy.stores.oci.tags import DescribedImage as DescribedImage
from serve_deploy.stores.oci.tags import describe_images as describe_images
from serve_deploy.stores.oci.tags import name_image as name_image
