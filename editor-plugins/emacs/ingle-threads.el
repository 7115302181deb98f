;;; ingle-threads.el --- The list of chats  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the list of the threads that the server keeps: open and delete.

;;; Code:

(require 'tabulated-list)
(require 'ingle-connection)
(require 'ingle-chat)

(defvar ingle-threads-mode-map
  (let ((map (make-sparse-keymap)))
    (set-keymap-parent map tabulated-list-mode-map)
    (define-key map (kbd "RET") #'ingle-threads-open)
    (define-key map "d" #'ingle-threads-delete)
    (define-key map "c" #'ingle-chat-new)
    map)
  "Keymap of `ingle-threads-mode'.")

(define-derived-mode ingle-threads-mode tabulated-list-mode "Ingle-Threads"
  "Mode of the list of chats.

\\{ingle-threads-mode-map}"
  (setq tabulated-list-format [("Changed" 17 t) ("Turns" 6 nil :right-align t)
                               ("Title" 0 t)]
        tabulated-list-padding 1)
  (setq-local revert-buffer-function #'ingle-threads--refresh)
  (tabulated-list-init-header))

;;;###autoload
(defun ingle-threads ()
  "List the chats."
  (interactive)
  (ingle--obtain
   (lambda (connection)
     (ingle--request
      connection :ingle/chat/threads (make-hash-table :size 1)
      :then (lambda (threads)
              (with-current-buffer (get-buffer-create "*ingle chats*")
                (unless (derived-mode-p 'ingle-threads-mode)
                  (ingle-threads-mode))
                (ingle-threads--fill threads)
                (pop-to-buffer (current-buffer))))))))

(defun ingle-threads--fill (threads)
  "Show THREADS, in the server's words, in this buffer."
  (setq tabulated-list-entries
        (mapcar (lambda (thread)
                  (list (plist-get thread :thread)
                        (vector (ingle-threads--time (plist-get thread :updated))
                                (number-to-string (plist-get thread :turns))
                                (plist-get thread :title))))
                threads))
  (tabulated-list-print 'remember-position))

(defun ingle-threads--time (time)
  "TIME, in the server's words, for people."
  (format-time-string "%Y-%m-%d %H:%M" (date-to-time time)))

(declare-function date-to-time "time-date")

(defun ingle-threads--refresh (&rest _)
  "Ask for the list again."
  (ingle-threads))

(defun ingle-threads-open ()
  "Open the chat at point."
  (interactive)
  (let ((thread (tabulated-list-get-id)))
    (if thread
        (ingle-chat-open thread)
      (ingle--say "there is no chat here"))))

(defun ingle-threads-delete ()
  "Delete the chat at point."
  (interactive)
  (let ((thread (tabulated-list-get-id)))
    (if (not thread)
        (ingle--say "there is no chat here")
      (when (y-or-n-p (format "Delete \"%s\"? " (aref (tabulated-list-get-entry) 2)))
        (ingle-threads-delete-thread thread #'ingle-threads)))))

(defun ingle-threads-delete-thread (thread done)
  "Delete THREAD, by its name, then call DONE."
  (ingle--obtain
   (lambda (connection)
     (ingle--request connection :ingle/chat/delete (list :thread thread)
                     :then (lambda (_)
                             (ingle--say "deleted")
                             (funcall done))))))

(provide 'ingle-threads)
;;; ingle-threads.el ends here
