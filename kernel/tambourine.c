// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the directory /proc/tambourine, the mount point of Tambourine's status files: procfs knows no mkdir(2).
 *
 * The directory is permanently empty (as /proc/fs/nfsd is), so that a mount on it does not keep a user namespace from
 * mounting a procfs of its own (mount_too_revealing() in fs/namespace.c). Every procfs of the machine shows it, and it
 * is empty except where something is mounted.
 *
 * procfs takes no reference on the module for a directory, and removing one that carries a mount detaches the mount
 * silently. So a process holds /dev/tambourine open while something is mounted: its open file is a reference, and
 * rmmod says that the module is in use. The device does nothing else.
 */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/proc_fs.h>

#define NAME "tambourine"

/* misc_open() takes a reference on .owner for each open file and gives it back with the last close. */
static const struct file_operations held = {
	.owner = THIS_MODULE,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = NAME,
	.fops = &held,
	.mode = 0400,
};

static struct proc_dir_entry *directory;

static int __init tambourine_init(void)
{
	int error;

	/* Fails where another has taken the name; the kernel's log says so. */
	directory = proc_create_mount_point(NAME);
	if (!directory)
		return -EEXIST;
	error = misc_register(&device);
	if (error)
		proc_remove(directory);
	return error;
}

static void __exit tambourine_exit(void)
{
	misc_deregister(&device);
	proc_remove(directory);
}

module_init(tambourine_init);
module_exit(tambourine_exit);

MODULE_DESCRIPTION("The directory /proc/tambourine");
MODULE_LICENSE("GPL");
