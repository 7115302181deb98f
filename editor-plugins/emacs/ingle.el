;;; ingle.el --- Suggestions, chat and changes by a local model  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;; Author: The ingle authors
;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1"))
;; Keywords: convenience, tools

;;; Commentary:

;; Ghost text while you type, a chat about the open file, and explanations,
;; fixes, tests and other changes, all made by a model on your own machine.
;; This is a thin client of ingle-lsp, which talks to ingle's daemon.
;;
;;     (require 'ingle)
;;     (global-ingle-mode 1)
;;
;; It works beside Eglot and any language server: ingle-lsp has a connection
;; of its own.  `M-x ingle-doctor' tells what is missing.  README.md has the
;; keys, the options and the commands.
;;
;; This file owns the minor mode, its keys and its menus.  The others are
;; loaded when they are needed.

;;; Code:

(require 'easymenu)
(require 'ingle-settings)
(require 'ingle-status)

(declare-function ingle--close "ingle-document")
(declare-function ingle--ghost-off "ingle-ghost")
(declare-function ingle--ghost-on "ingle-ghost")
(declare-function ingle--start "ingle-connection")

(autoload 'ingle--obtain "ingle-connection")
(autoload 'ingle--key-of "ingle-connection")
(autoload 'ingle-restart "ingle-connection" nil t)
(autoload 'ingle-complete "ingle-ghost" nil t)
(autoload 'ingle-chat "ingle-chat" nil t)
(autoload 'ingle-chat-new "ingle-chat" nil t)
(autoload 'ingle-threads "ingle-threads" nil t)
(autoload 'ingle-explain "ingle-actions" nil t)
(autoload 'ingle-fix "ingle-actions" nil t)
(autoload 'ingle-write-tests "ingle-actions" nil t)
(autoload 'ingle-document "ingle-actions" nil t)
(autoload 'ingle-refactor "ingle-actions" nil t)
(autoload 'ingle-commit-message "ingle-actions" nil t)
(autoload 'ingle-cancel "ingle-actions" nil t)
(autoload 'ingle-actions--show-markdown "ingle-actions")
(autoload 'ingle-doctor "ingle-doctor" nil t)

;;;; Keys and menus

(defconst ingle--commands
  '((?i "suggest here" ingle-complete)
    (?c "chat" ingle-chat)
    (?n "new chat" ingle-chat-new)
    (?h "earlier chats" ingle-threads)
    nil
    (?e "explain" ingle-explain)
    (?f "fix the problem here" ingle-fix)
    (?t "write tests" ingle-write-tests)
    (?d "document" ingle-document)
    (?r "refactor by an instruction" ingle-refactor)
    (?m "commit message" ingle-commit-message)
    (?k "stop the work in progress" ingle-cancel)
    nil
    (?s "start the daemon" ingle-start-daemon)
    (?l "load a model" ingle-load-model)
    (?u "unload a model" ingle-unload-model)
    (?E "effort" ingle-set-effort)
    (?p "pause suggestions" ingle-pause)
    (?P "resume suggestions" ingle-resume)
    nil
    (?S "status" ingle-status)
    (?R "restart ingle-lsp" ingle-restart)
    (?x "doctor: what is missing?" ingle-doctor))
  "Keys after the prefix, what they do in words, and the commands.")

(defvar ingle-command-map
  (let ((map (make-sparse-keymap)))
    (dolist (entry ingle--commands)
      (when entry
        (define-key map (vector (nth 0 entry)) (nth 2 entry))))
    (define-key map "?" #'ingle-dispatch)
    map)
  "Keys of ingle's commands, after `ingle-keymap-prefix'.")

(defvar ingle-mode-map (make-sparse-keymap)
  "Keymap of `ingle-mode'.")

(defun ingle--set-prefix (symbol value)
  "Set SYMBOL, `ingle-keymap-prefix', to VALUE and bind the keys."
  (when (and (boundp symbol) (symbol-value symbol))
    (define-key ingle-mode-map (kbd (symbol-value symbol)) nil))
  (when value
    (define-key ingle-mode-map (kbd value) ingle-command-map))
  (set-default symbol value))

(defcustom ingle-keymap-prefix "C-c _"
  "Prefix key of ingle's commands, as `kbd' takes it; nil for none.
Set it with Customize or `setopt', or bind `ingle-command-map' yourself."
  :type '(choice (const :tag "None" nil) string)
  :group 'ingle
  :set #'ingle--set-prefix)

(easy-menu-define ingle-menu-map ingle-mode-map
  "Menu of `ingle-mode'."
  (cons "Ingle"
        (append (mapcar (lambda (entry)
                          (if entry
                              (vector (concat (upcase (substring (nth 1 entry) 0 1))
                                              (substring (nth 1 entry) 1))
                                      (nth 2 entry))
                            "---"))
                        ingle--commands)
                '("---" ["Customize" (customize-group 'ingle)]))))

(defun ingle--key-table ()
  "The keys and what they do, in two columns."
  (let* ((cell (lambda (entry)
                 (if entry
                     (concat (propertize (string (nth 0 entry)) 'face 'help-key-binding)
                             "  " (nth 1 entry))
                   "")))
         ;; The groups are divided about the middle.
         (middle (cl-position nil ingle--commands
                              :start (/ (length ingle--commands) 3)))
         (left (mapcar cell (cl-subseq ingle--commands 0 middle)))
         (right (mapcar cell (cl-subseq ingle--commands (1+ middle)))))
    (cl-loop while (or left right)
             concat (format "  %-36s %s\n" (or (pop left) "") (or (pop right) "")))))

(defun ingle-dispatch ()
  "Show ingle's commands, and run the one whose key is pressed."
  (interactive)
  (let ((buffer (get-buffer-create "*ingle keys*"))
        key)
    (with-current-buffer buffer
      (erase-buffer)
      (insert (ingle--key-table))
      (goto-char (point-min)))
    (unwind-protect
        (save-window-excursion
          (display-buffer buffer '(display-buffer-at-bottom
                                   (window-height . fit-window-to-buffer)))
          (setq key (read-key (concat "ingle: " (ingle--status-text)))))
      (kill-buffer buffer))
    (let ((command (nth 2 (assq key (remq nil ingle--commands)))))
      (cond (command (call-interactively command))
            ((memq key '(?\C-g ?\e ?q)) (keyboard-quit))
            (t (ingle--say "%s is no key here" (key-description (vector key))))))))

;;;; The mode

;;;###autoload
(define-minor-mode ingle-mode
  "Suggestions by a local model while you type.
\\<ingle-ghost-map>Suggestions are grey text after point: \\[ingle-accept] accepts one,
\\[ingle-accept-word] its next word, \\[ingle-accept-line] its line, \\[ingle-dismiss] dismisses it.
Whatever else you do takes it away, too; typing what it says keeps it.

\\<ingle-mode-map>\\[ingle-dispatch] shows ingle's commands.

\\{ingle-mode-map}"
  :lighter (:eval (ingle--lighter))
  :keymap ingle-mode-map
  (require 'ingle-ghost)
  (if ingle-mode
      (progn
        (ingle--ghost-on)
        ;; So that the first suggestion need not wait for the start.
        (run-with-idle-timer 0.5 nil #'ingle--prepare))
    (ingle--ghost-off)
    (ingle--close)))

(defun ingle--prepare ()
  "Start ingle-lsp if a buffer needs it."
  (when (bound-and-true-p ingle-mode)
    (require 'ingle-connection)
    (ingle--guarded (ingle--start))))

(defun ingle--turn-on ()
  "Turn `ingle-mode' on where there is text to write."
  (unless (or (minibufferp)
              (string-prefix-p " " (buffer-name))
              (derived-mode-p 'special-mode))
    (ingle-mode 1)))

;;;###autoload
(define-globalized-minor-mode global-ingle-mode ingle-mode ingle--turn-on
  :group 'ingle
  :predicate '(prog-mode text-mode conf-mode))

(defun ingle--load-eglot (_server)
  "Be there for a new server of Eglot: it may be ingle-lsp."
  (require 'ingle-eglot))

(add-hook 'eglot-server-initialized-hook #'ingle--load-eglot)

(provide 'ingle)
;;; ingle.el ends here
